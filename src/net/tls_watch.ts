import type { Server } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import { type FileWatch, watchFiles } from '../files/watch.ts';
import { readServerTls, type ServerTlsFiles, tlsFilesOf } from './tls.ts';

/** Where it is told. */
export interface TlsWatchLog {
  info(fields: object, words: string): void;
  error(fields: object, words: string): void;
}

/** A server with TLS, and what it was made with. */
export interface ServedTls {
  readonly server: Server;
  readonly files: ServerTlsFiles;
  /** Of the files, from before they were read. */
  readonly version: string;
}

/** Milliseconds between two looks at the files. */
const LOOK_EVERY_MS = 2000;

/**
 * Uses another certificate, key or client CA for new connections as soon as the files change; what cannot be used is refused and the old one
 * stays. Sessions of the old one are not resumed: a new context has ticket keys of its own, so that no session outlives its CA.
 */
export function watchTls({ server, files, version }: ServedTls, log: TlsWatchLog): FileWatch {
  return watchFiles({ files: tlsFilesOf(files), version, everyMs: LOOK_EVERY_MS }, () => {
    try {
      (server as TlsServer).setSecureContext(readServerTls(files));
      log.info({ certificate_file: files.certificate_file }, 'a new certificate is used for new connections');
    } catch (error) {
      log.error({ err: error }, 'the new certificate was refused; the old one stays');
    }
  });
}
