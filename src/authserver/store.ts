import { dirname, join } from 'node:path';
import type { AuthServerConfig } from '../config/authserver_schema.ts';
import type { Clock } from '../kernel/clock.ts';

/**
 * What is kept: used identifiers, opaque tokens, revoked tokens, registered clients, published signing keys, and secrets that servers of one
 * issuer share. Clients and keys can be listed and counted.
 */
export type Kind = 'used' | 'token' | 'revoked' | 'client' | 'key' | 'secret';

/** Kinds whose entries can be listed and counted. */
export const LISTED: readonly Kind[] = ['client', 'key'];

/** One entry. */
export interface Entry {
  readonly kind: Kind;
  /** At most 256 bytes, nothing secret. */
  readonly id: string;
  readonly value: string;
  /** Seconds since the Unix epoch, inclusive: after that it is gone. */
  readonly until: number;
}

/**
 * What must survive a restart and is shared between the servers of one issuer. Every operation is atomic: `insert` of one identifier by many
 * at once succeeds for exactly one. Rejects with `StoreUnavailable` when nothing can be said; then the request is refused, never let through.
 */
export interface Store {
  /** Whether servers on other machines may use it too. */
  readonly shared: boolean;
  /** Writes an entry that is not there. @returns the value that stands there now: its own, or that of who was first */
  insert(entry: Entry): Promise<string>;
  /**
   * When entries may have been lost, seconds since the Unix epoch: what was dated before may have been used, or taken back, although nothing
   * says so. Asked after a write or a read, it tells of every loss before that.
   */
  lostAt(): Promise<number>;
  /** Writes an entry, whether it is there or not. */
  put(entry: Entry): Promise<void>;
  /** Writes an entry only where this value stands, so that no change of somebody else is lost. @returns whether it did */
  replace(entry: Entry, standing: string): Promise<boolean>;
  get(kind: Kind, id: string): Promise<string | null>;
  /** @returns whether it was there */
  remove(kind: Kind, id: string): Promise<boolean>;
  /** The values of a kind that can be listed. */
  list(kind: Kind): Promise<readonly string[]>;
  count(kind: Kind): Promise<number>;
  close(): Promise<void>;
}

/** The store cannot answer now. */
export class StoreUnavailable extends Error {
  override readonly name = 'StoreUnavailable';
}

/** What a store is opened with. */
export interface StoreOptions {
  readonly config: AuthServerConfig['storage'];
  /** The database where the configuration names none. */
  readonly databaseFile: string;
  readonly clock: Clock;
  /** Told of a problem with the connection, in words for the log. */
  readonly onProblem: (problem: string) => void;
  /** Told when the last writes may be gone. Absent: nobody is. */
  readonly onLoss?: () => void;
}

/** The database that the configuration names; where it names no storage, one beside the signing keys. */
export function databaseOf({
  storage,
  signing_keys_file: keys,
}: Pick<AuthServerConfig, 'storage' | 'signing_keys_file'>): string {
  return storage.database_file ?? join(dirname(keys), 'authserver.db');
}

/** Opens the store that the configuration names. The libraries are loaded only where they are used. @throws Error that says what to do */
export async function openStore({
  config,
  databaseFile,
  clock,
  onProblem,
  onLoss = () => undefined,
}: StoreOptions): Promise<Store> {
  if (config.redis !== undefined) {
    const { RedisStore } = await import('./store_redis.ts');
    return RedisStore.open({ redis: config.redis, clock, onProblem, onLoss });
  }
  const { SqliteStore } = await import('./store_sqlite.ts');
  return SqliteStore.open(config.database_file ?? databaseFile, clock);
}
