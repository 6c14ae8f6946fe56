import type { Server } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import { readServerTls, type ServerTlsFiles, tlsFilesVersion } from './tls.ts';

/** Where it is told. */
export interface TlsWatchLog {
  info(fields: object, words: string): void;
  error(fields: object, words: string): void;
}

/** Milliseconds between two looks at the files. */
const LOOK_EVERY_MS = 2000;

/** Looks at the files of certificate and key from time to time. */
export interface TlsWatch {
  /** Looks now. */
  look(): void;
  close(): void;
}

/** Uses a new certificate or key for new connections as soon as the files change; a broken one is refused and the old one stays. */
export function watchTls(server: Server, files: ServerTlsFiles, log: TlsWatchLog): TlsWatch {
  let version = tlsFilesVersion(files);
  const look = () => {
    const seen = tlsFilesVersion(files);
    if (seen === version) return;
    version = seen;
    try {
      (server as TlsServer).setSecureContext(readServerTls(files));
      log.info({ certificate_file: files.certificate_file }, 'a new certificate is used for new connections');
    } catch (error) {
      log.error({ err: error }, 'the new certificate was refused; the old one stays');
    }
  };
  const timer = setInterval(look, LOOK_EVERY_MS).unref();
  return { look, close: () => clearInterval(timer) };
}
