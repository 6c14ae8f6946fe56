import { gzipSync } from 'node:zlib';

/** One entry of an archive, as raw as a test wants it. */
export interface TarEntry {
  readonly name: string;
  readonly content?: string | Uint8Array;
  /** Type flag; default `0`, a regular file. */
  readonly type?: string;
  readonly link?: string;
}

const BLOCK = 512;

/** A tar archive (POSIX ustar), with its two empty blocks at the end. */
export function tar(entries: readonly TarEntry[]): Buffer {
  return Buffer.concat([...entries.map(tarEntry), Buffer.alloc(2 * BLOCK)]);
}

/** The same, compressed: what a bundle is. */
export function tarGz(entries: readonly TarEntry[]): Buffer {
  return gzipSync(tar(entries));
}

/** A record of an extended header (POSIX pax): its own length, then `key=value`. */
export function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return `${length}${rest}`;
}

/** Header and content of one entry, padded to whole blocks. */
export function tarEntry({ name, content = '', type = '0', link = '' }: TarEntry): Buffer {
  const bytes = Buffer.from(content);
  const header = Buffer.alloc(BLOCK);
  header.write(name, 0, 100, 'utf8');
  header.write('0000644\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  header.write(`${bytes.length.toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write(' '.repeat(8), 148);
  header.write(type, 156);
  header.write(link, 157, 100, 'utf8');
  header.write('ustar\x0000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  const padding = Buffer.alloc((BLOCK - (bytes.length % BLOCK)) % BLOCK);
  return Buffer.concat([header, bytes, padding]);
}

/** The regular files of an archive, by name. */
export function untar(archive: Buffer): TarEntry[] {
  const entries: TarEntry[] = [];
  for (let at = 0; at + BLOCK <= archive.length && archive[at] !== 0; ) {
    const header = archive.subarray(at, at + BLOCK);
    const text = (start: number, end: number) => header.toString('utf8', start, end).replace(/\0.*$/s, '');
    const size = Number.parseInt(text(124, 136), 8);
    const content = Buffer.from(archive.subarray(at + BLOCK, at + BLOCK + size));
    entries.push({ name: text(0, 100), content });
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
  return entries;
}
