import type { ClientRecord, Clients } from './clients.ts';
import type { Store } from './store.ts';

/** A registered client as it is stored. */
export interface StoredClient {
  readonly client: ClientRecord;
  /** What it was registered with, as it is shown to whoever manages it (RFC 7592 §3). */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** SHA-256 of its registration access token. */
  readonly accessDigest: string;
  /** Name of the initial access token or workload rule that let it in. */
  readonly by: string;
  /** Seconds since the Unix epoch. */
  readonly issuedAt: number;
  /** When it must register again, seconds since the Unix epoch. */
  readonly expiresAt: number;
  /** When it last got a token, or was registered; seconds since the Unix epoch, an hour too old at most. */
  readonly usedAt: number;
}

/** What the directory is made of. */
export interface DirectoryOptions {
  readonly configured: Clients;
  readonly store: Store;
  /** A registered client with what it may have now; null where it may be no more. */
  readonly limit: (stored: StoredClient) => ClientRecord | null;
  /** Seconds without a token after which a registered client is removed. */
  readonly unusedSeconds: number;
}

/** Seconds between two notes that a client is in use: writing for each token would cost more than the token. */
const NOTE_SECONDS = 3600;

/** The clients: those of the configuration, and those that were registered. */
export class ClientDirectory {
  readonly #options: DirectoryOptions;

  constructor(options: DirectoryOptions) {
    this.#options = options;
  }

  /** A client by its identifier; null where there is none, or none any more. */
  async known(clientId: string): Promise<ClientRecord | null> {
    const configured = this.#options.configured.get(clientId);
    if (configured !== undefined) return configured;
    const stored = await this.registered(clientId);
    return stored === null ? null : this.#options.limit(stored);
  }

  /** The configured clients. */
  get configured(): Clients {
    return this.#options.configured;
  }

  /** A registered client. */
  async registered(clientId: string): Promise<StoredClient | null> {
    return (await this.#read(clientId))?.stored ?? null;
  }

  /** Notes that a client got a token; a registered client that gets none leaves. */
  async used({ registered, clientId }: ClientRecord, now: number): Promise<void> {
    if (!registered) return;
    const seconds = Math.min(NOTE_SECONDS, this.#options.unusedSeconds / 4);
    // Where somebody else changes it in this moment, that counts and the note is left out.
    await this.change(clientId, (stored) => (now - stored.usedAt < seconds ? null : { ...stored, usedAt: now }));
  }

  /** Registers a client under an identifier that nobody has. @returns whether nobody had it */
  async add(stored: StoredClient): Promise<boolean> {
    const entry = this.#entry(stored);
    return (await this.#options.store.insert(entry)) === entry.value;
  }

  /**
   * Puts what `make` makes of a registered client in its place; null changes nothing.
   * @returns what stands there now; null where there is no such client, or somebody else changed it in the same moment
   */
  async change(clientId: string, make: (stored: StoredClient) => StoredClient | null): Promise<StoredClient | null> {
    const found = await this.#read(clientId);
    if (found === null) return null;
    const changed = make(found.stored);
    if (changed === null) return found.stored;
    return (await this.#options.store.replace(this.#entry(changed), found.text)) ? changed : null;
  }

  async remove(clientId: string): Promise<boolean> {
    return this.#options.store.remove('client', clientId);
  }

  /** Registered clients. */
  count(): Promise<number> {
    return this.#options.store.count('client');
  }

  async #read(clientId: string): Promise<{ text: string; stored: StoredClient } | null> {
    if (clientId === '' || clientId.length > 256) return null;
    const text = await this.#options.store.get('client', clientId);
    return text === null ? null : { text, stored: JSON.parse(text) as StoredClient };
  }

  /** The store itself removes it, at the end of its life or when it was not used for too long. */
  #entry(stored: StoredClient) {
    const until = Math.min(stored.expiresAt, stored.usedAt + this.#options.unusedSeconds);
    return { kind: 'client', id: stored.client.clientId, value: JSON.stringify(stored), until } as const;
  }
}
