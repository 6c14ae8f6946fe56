import { fstatSync } from 'node:fs';
import process from 'node:process';
import { appendLines } from './descriptor.ts';
import type { Sink, Written } from './sink.ts';

const STDOUT = 1;

/** The sink that is standard output: a pipe to a log collector, a file, or a terminal. */
export function openStdoutSink(name: string): Sink {
  const status = fstatSync(STDOUT);
  return status.isFIFO() || status.isSocket() ? new StreamSink(name, process.stdout) : new DescriptorSink(name);
}

/**
 * Through the stream of Node.js, which waits for the reader without holding a thread: a thread that waits would keep the process from
 * ending. A reader that is gone does not come back, so the sink stays down.
 */
class StreamSink implements Sink {
  readonly name: string;
  readonly #stream: NodeJS.WriteStream;
  #end: ((error: Error) => void) | null = null;

  constructor(name: string, stream: NodeJS.WriteStream) {
    this.name = name;
    this.#stream = stream;
    // Each write learns of its failure; without a listener the event would end the process.
    stream.on('error', ignore);
  }

  write(lines: Buffer): Promise<Written> {
    return new Promise((resolve) => {
      this.#end = (error) => resolve({ bytes: 0, error });
      this.#stream.write(lines, (error) => {
        resolve(error ? { bytes: 0, error } : { bytes: lines.length, error: null });
      });
    });
  }

  reopen(): void {
    // Standard output has no name to be opened under.
  }

  close(): Promise<void> {
    this.#end?.(new Error('standard output was not read in time'));
    return Promise.resolve();
  }
}

/** A file or terminal, written as a descriptor: the stream of Node.js does not notice when a file takes only a part. */
class DescriptorSink implements Sink {
  readonly name: string;
  #closed = false;

  constructor(name: string) {
    this.name = name;
  }

  write(lines: Buffer): Promise<Written> {
    return appendLines(STDOUT, lines, () => this.#closed);
  }

  reopen(): void {
    // Standard output has no name to be opened under.
  }

  close(): Promise<void> {
    this.#closed = true;
    return Promise.resolve();
  }
}

function ignore(): void {
  // See the constructor of StreamSink.
}
