import { readFileSync, statSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { createSecureContext } from 'node:tls';
import type { ServiceConfig } from '../config/service_schema.ts';

/** Connections to one service: a poll, a report and an upload at the same time, and some to spare. */
const CONNECTIONS = 8;
/** Milliseconds that an idle connection is kept. */
const IDLE_MS = 30_000;

/** The connections to one service. CA and client certificate are read again when their files change. */
export class ServiceAgent {
  readonly #config: ServiceConfig;
  #agent: http.Agent;
  #version: string;

  /** @throws Error that names the file that cannot be used */
  constructor(config: ServiceConfig) {
    this.#config = config;
    this.#version = this.#filesVersion();
    this.#agent = this.#make();
  }

  /** The agent to send with. A new file that cannot be used does not end what works: the connections before stay in use. */
  current(): http.Agent {
    const version = this.#filesVersion();
    if (version !== this.#version) {
      try {
        const next = this.#make();
        this.#agent.destroy();
        this.#agent = next;
        this.#version = version;
      } catch {
        // Half written, or wrong; looked at again with the next request.
      }
    }
    return this.#agent;
  }

  close(): void {
    this.#agent.destroy();
  }

  #files(): { readonly ca?: string | undefined; readonly cert?: string; readonly key?: string } {
    const { ca_file: ca, credentials } = this.#config;
    if (credentials?.type !== 'client_certificate') return { ca };
    return { ca, cert: credentials.certificate_file, key: credentials.key_file };
  }

  #filesVersion(): string {
    return Object.values(this.#files())
      .filter((file) => file !== undefined)
      .map((file) => {
        const found = statSync(file, { throwIfNoEntry: false });
        return `${found?.mtimeMs ?? 0}:${found?.size ?? 0}:${found?.ino ?? 0}`;
      })
      .join();
  }

  #make(): http.Agent {
    const common = { keepAlive: true, maxSockets: CONNECTIONS, timeout: IDLE_MS };
    if (this.#config.url.startsWith('http:')) return new http.Agent(common);
    const read = Object.entries(this.#files()).flatMap(([name, file]) =>
      file === undefined ? [] : [[name, readPem(this.#config.name, file)] as const],
    );
    // RFC 9325 §3.1.1: nothing before TLS 1.2. The certificate of the service is always verified.
    const tls = { ...Object.fromEntries(read), minVersion: 'TLSv1.2', rejectUnauthorized: true } as const;
    try {
      createSecureContext(tls);
    } catch (error) {
      const files = Object.values(this.#files()).filter((file) => file !== undefined);
      throw new Error(`service ${this.#config.name}: ${files.join(', ')} cannot be used: ${(error as Error).message}`);
    }
    return new https.Agent({ ...common, ...tls });
  }
}

function readPem(service: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new Error(
      `service ${service}: ${file} cannot be read: ${code === 'ENOENT' ? 'there is no such file' : message}`,
    );
  }
}
