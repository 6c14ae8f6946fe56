import { chmodSync, closeSync, existsSync, openSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { type Clock, secondsOf } from '../kernel/clock.ts';
import { type Entry, type Kind, type Store, StoreUnavailable } from './store.ts';

/** Version of the tables; a file of another version is not touched. */
const VERSION = 1;
/** Milliseconds that another process may hold the lock. */
const BUSY_MS = 2000;
/** Milliseconds between two removals of what has passed. */
const SWEEP_MS = 30_000;
/** Rows that one removal takes at most, so that no request waits long for it. */
const SWEEP_ROWS = 5000;

const SCHEMA = `
CREATE TABLE IF NOT EXISTS entries (
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  value TEXT NOT NULL,
  until INTEGER NOT NULL,
  PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entries_until ON entries (until);
PRAGMA user_version = ${VERSION};
`;

/** The statements, prepared once. */
interface Statements {
  readonly insert: StatementSync;
  readonly put: StatementSync;
  readonly replace: StatementSync;
  readonly get: StatementSync;
  readonly remove: StatementSync;
  readonly list: StatementSync;
  readonly count: StatementSync;
  readonly sweep: StatementSync;
}

/**
 * The embedded store: one SQLite file, by the SQLite that Node.js carries. Its calls are synchronous and take some tens of microseconds, so
 * each is atomic in this process; between processes SQLite's own lock makes it so. What was written survives the end of the process at any
 * moment; a power failure may lose the last moments (WAL, synchronous NORMAL).
 */
export class SqliteStore implements Store {
  readonly shared = false;
  readonly #database: DatabaseSync;
  readonly #statements: Statements;
  readonly #clock: Clock;
  readonly #sweeper: NodeJS.Timeout;

  private constructor(database: DatabaseSync, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
    this.#statements = prepare(database);
    this.#sweep();
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_MS);
    this.#sweeper.unref();
  }

  /** @throws Error that names the file and what to do */
  static open(file: string, clock: Clock): SqliteStore {
    let database: DatabaseSync | undefined;
    try {
      // Before SQLite makes it, so that nobody else can read it at any moment; the files beside it get the same mode.
      if (!existsSync(file)) closeSync(openSync(file, 'a', 0o600));
      chmodSync(file, 0o600);
      database = new DatabaseSync(file);
      database.exec(`PRAGMA busy_timeout = ${BUSY_MS}; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;`);
      mustBeOfVersion(database);
      database.exec(SCHEMA);
      return new SqliteStore(database, clock);
    } catch (error) {
      database?.close();
      throw unusable(file, error);
    }
  }

  /** Looks at a database without touching it, or anything beside it; also while a server uses it. @throws Error as `open` does */
  static inspect(file: string): void {
    let database: DatabaseSync | undefined;
    try {
      const place = pathToFileURL(file);
      // Otherwise even a reader makes the files of the write-ahead log (https://www.sqlite.org/uri.html#uriimmutable).
      place.searchParams.set('immutable', '1');
      database = new DatabaseSync(place, { readOnly: true });
      mustBeOfVersion(database);
    } catch (error) {
      throw unusable(file, error);
    } finally {
      database?.close();
    }
  }

  insert({ kind, id, value, until }: Entry): Promise<string> {
    return this.#try(() => {
      const { changes } = this.#statements.insert.run(kind, id, value, until, this.#now());
      return changes === 1 ? value : (this.#read(kind, id) ?? '');
    });
  }

  async lostAt(): Promise<number> {
    return Number.NEGATIVE_INFINITY;
  }

  put({ kind, id, value, until }: Entry): Promise<void> {
    return this.#try(() => void this.#statements.put.run(kind, id, value, until));
  }

  replace({ kind, id, value, until }: Entry, standing: string): Promise<boolean> {
    const { replace } = this.#statements;
    return this.#try(() => replace.run(value, until, kind, id, this.#now(), standing).changes === 1);
  }

  get(kind: Kind, id: string): Promise<string | null> {
    return this.#try(() => this.#read(kind, id));
  }

  remove(kind: Kind, id: string): Promise<boolean> {
    return this.#try(() => this.#statements.remove.run(kind, id).changes === 1);
  }

  list(kind: Kind): Promise<readonly string[]> {
    return this.#try(() => this.#statements.list.all(kind, this.#now()).map((row) => String(row['value'])));
  }

  count(kind: Kind): Promise<number> {
    return this.#try(() => Number(this.#statements.count.get(kind, this.#now())?.['count'] ?? 0));
  }

  async close(): Promise<void> {
    clearInterval(this.#sweeper);
    if (this.#database.isOpen) this.#database.close();
  }

  #read(kind: Kind, id: string): string | null {
    const row = this.#statements.get.get(kind, id, this.#now());
    return row === undefined ? null : String(row['value']);
  }

  #now(): number {
    return secondsOf(this.#clock());
  }

  /** A full disk, a lock that is held too long, a file that is damaged: nothing can be said. */
  async #try<T>(step: () => T): Promise<T> {
    try {
      return step();
    } catch (error) {
      throw new StoreUnavailable(`the database: ${(error as Error).message}`, { cause: error });
    }
  }

  #sweep(): void {
    try {
      this.#statements.sweep.run(this.#now());
    } catch {
      // Removing can wait; what has passed is not read.
    }
  }
}

function mustBeOfVersion(database: DatabaseSync): void {
  const { user_version: version } = database.prepare('PRAGMA user_version').get() as { user_version: number };
  if (version === 0 || version === VERSION) return;
  throw new Error(`it has version ${version}, expected ${VERSION}: it is of another version of this program`);
}

function unusable(file: string, error: unknown): Error {
  return new Error(`storage.database_file: ${file} cannot be used: ${(error as Error).message}`);
}

function prepare(database: DatabaseSync): Statements {
  return {
    insert: database.prepare(
      `INSERT INTO entries (kind, id, value, until) VALUES (?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET value = excluded.value, until = excluded.until WHERE entries.until < ?`,
    ),
    put: database.prepare('INSERT OR REPLACE INTO entries (kind, id, value, until) VALUES (?, ?, ?, ?)'),
    replace: database.prepare(
      'UPDATE entries SET value = ?, until = ? WHERE kind = ? AND id = ? AND until >= ? AND value = ?',
    ),
    get: database.prepare('SELECT value FROM entries WHERE kind = ? AND id = ? AND until >= ?'),
    remove: database.prepare('DELETE FROM entries WHERE kind = ? AND id = ?'),
    list: database.prepare('SELECT value FROM entries WHERE kind = ? AND until >= ? ORDER BY id'),
    count: database.prepare('SELECT COUNT(*) AS count FROM entries WHERE kind = ? AND until >= ?'),
    sweep: database.prepare(
      `DELETE FROM entries WHERE (kind, id) IN (SELECT kind, id FROM entries WHERE until < ? LIMIT ${SWEEP_ROWS})`,
    ),
  };
}
