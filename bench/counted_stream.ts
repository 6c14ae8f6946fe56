const BLOCK_BYTES = 65_536;
/** The same in every process. */
const PATTERN = Buffer.alloc(BLOCK_BYTES, 'The bytes of one block, which begins with its number. ');

/** So many bytes, in blocks of 64 KiB that carry their number: one that is missing, doubled or out of place shows. */
export function* countedBlocks(bytes: number): Generator<Buffer, undefined> {
  for (let number = 0, left = bytes; left > 0; number++, left -= BLOCK_BYTES) {
    const block = Buffer.from(PATTERN);
    block.writeUInt32BE(number);
    yield left < BLOCK_BYTES ? block.subarray(0, left) : block;
  }
}

/** Compares what arrives, in chunks of any size, with what {@link countedBlocks} gives. */
export class CountedCheck {
  bytes = 0;
  readonly #expected = Buffer.from(PATTERN);

  /** @throws Error that says where other bytes were found */
  take(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      const place = this.bytes % BLOCK_BYTES;
      const end = Math.min(chunk.length, at + BLOCK_BYTES - place);
      this.#expected.writeUInt32BE(Math.floor(this.bytes / BLOCK_BYTES));
      if (!chunk.subarray(at, end).equals(this.#expected.subarray(place, place + end - at)))
        throw new Error(`other bytes than were sent, in the block that begins at ${this.bytes - place}`);
      this.bytes += end - at;
      at = end;
    }
  }
}
