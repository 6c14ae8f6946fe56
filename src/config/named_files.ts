import { accessSync, constants, statSync } from 'node:fs';
import { ConfigError, type ConfigProblem, pathOfKey } from './problems.ts';
import { type Locate, locatorOf } from './yaml_file.ts';

/**
 * What a configuration file names, read one after the other. What cannot be used becomes a problem at the key that names it, so that all of
 * them are told at once, each with its line.
 */
export class NamedFiles {
  readonly #file: string;
  readonly #problems: ConfigProblem[] = [];

  /** @param file the configuration file, as it is told of in problems */
  constructor(file: string) {
    this.#file = file;
  }

  /** Reads something that `key` names, in this file or in another that it names. @returns undefined when it cannot be used */
  read<T>(key: string, read: () => T, file = this.#file): T | undefined {
    try {
      return read();
    } catch (error) {
      this.#fail(key, error, file);
      return undefined;
    }
  }

  /** The same for what takes its time. */
  async readLater<T>(key: string, read: () => Promise<T>): Promise<T | undefined> {
    try {
      return await read();
    } catch (error) {
      this.#fail(key, error, this.#file);
      return undefined;
    }
  }

  /** A file that is read later, or by somebody else: it must be there, and readable. Undefined: the configuration names none. */
  mustBeFile(key: string, path: string | undefined): void {
    if (path === undefined) return;
    this.read(key, () => {
      const status = statSync(path, { throwIfNoEntry: false });
      if (status === undefined) throw new Error(`there is no such file: ${path}`);
      if (status.isDirectory()) throw new Error(`${path} is a folder; expected a file`);
      mustBeReadable(path);
    });
  }

  /** A file or a folder, as they come. @returns whether one is named and there */
  mustExist(key: string, path: string | undefined): path is string {
    if (path === undefined) return false;
    if (statSync(path, { throwIfNoEntry: false }) !== undefined) return true;
    this.problem(key, `there is no such file or folder: ${path}`);
    return false;
  }

  /** A folder in which something is made at the start. */
  mustBeFolder(key: string, path: string | undefined): void {
    if (path === undefined) return;
    const status = statSync(path, { throwIfNoEntry: false });
    if (status === undefined) this.problem(key, `there is no such folder: ${path}; make it`);
    else if (!status.isDirectory()) this.problem(key, `${path} is not a folder`);
  }

  problem(key: string, message: string, file = this.#file): void {
    this.#problems.push({ file, line: null, column: null, key, message });
  }

  /** @throws ConfigError with everything that was found */
  finish(): void {
    if (this.#problems.length === 0) return;
    const locators = new Map<string, Locate>();
    throw new ConfigError(this.#problems.map((one) => (one.line === null ? this.#locate(one, locators) : one)));
  }

  #locate({ file, key, message }: ConfigProblem, locators: Map<string, Locate>): ConfigProblem {
    const locate = locators.get(file) ?? locatorOf(file);
    locators.set(file, locate);
    return locate(pathOfKey(key), message);
  }

  #fail(key: string, error: unknown, file: string): void {
    if (!(error instanceof ConfigError)) {
      const { at, words } = placed(error, key);
      this.problem(at, words, file);
      return;
    }
    for (const one of error.problems) {
      // At its own place within the file that is named; with a member of the key's own value; with that file as a whole.
      if (one.line !== null) this.#problems.push(one);
      else if (one.key.startsWith(key)) this.problem(one.key, one.message, file);
      else this.problem(key, one.key === '' ? `${one.file}: ${one.message}` : one.message, file);
    }
  }
}

function mustBeReadable(path: string): void {
  try {
    accessSync(path, constants.R_OK);
  } catch (error) {
    throw new Error(`${path} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
}

/** A message for people may begin with a key: that one, or the one that was read, is told once. */
function placed(error: unknown, key: string): { at: string; words: string } {
  const message = error instanceof Error ? error.message : String(error);
  const [prefix = ''] = /^(?:[a-z_.]+: )+/.exec(message) ?? [];
  // TLS of the admin port is read as that of the port for callers is.
  const named = key.endsWith('.tls') ? prefix.replace(/^listen\.tls/, key) : prefix;
  const words = message.slice(prefix.length);
  if (named.startsWith(`${key}.`)) return { at: named.slice(0, -2), words };
  const last = key.slice(key.lastIndexOf('.') + 1);
  return { at: key, words: named.slice(0, -2).endsWith(last) ? words : message };
}
