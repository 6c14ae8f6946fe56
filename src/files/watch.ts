import { versionOf } from './version.ts';

/** What is watched, and from when on. */
export interface WatchedFiles {
  readonly files: readonly string[];
  /** Their version from before they were read. */
  readonly version: string;
  /** Milliseconds between two looks. */
  readonly everyMs: number;
}

/** Looks at files from time to time. */
export interface FileWatch {
  /** Looks now. */
  look(): void;
  close(): void;
}

/**
 * Calls `onChange` within `everyMs` of a change of one of the files since `version`. It looks by itself instead of waiting for notices of the
 * operating system: those are not given for the targets of links, on network and container file systems, and when there are too many watches.
 * `onChange` reads the files and never throws. Does not keep the process alive.
 */
export function watchFiles({ files, version, everyMs }: WatchedFiles, onChange: () => void): FileWatch {
  let known = version;
  const look = () => {
    const seen = versionOf(...files);
    if (seen === known) return;
    known = seen;
    onChange();
  };
  const timer = setInterval(look, everyMs).unref();
  return { look, close: () => clearInterval(timer) };
}
