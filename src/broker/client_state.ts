import { createPrivateKey, type JsonWebKey } from 'node:crypto';
import type { JWK } from 'jose';
import { StateFile } from '../net/state_file.ts';
import { isJsonObject, type JsonObject } from '../oauth/strict_json.ts';

/** A client that the broker registered for a workflow, with its private keys. Times in milliseconds since the Unix epoch. */
export interface ClientState {
  readonly workflow: string;
  readonly issuer: string;
  clientId: string;
  /** Null where the server lets nobody manage its clients. */
  management: { readonly uri: string; readonly token: string } | null;
  /** Private JWKs; all are registered, one signs. */
  keys: readonly JWK[];
  /** `kid` of the key that signs. */
  signs: string;
  /** When the newest key was made. */
  rotatedAt: number;
  /** Digest of the metadata that is registered; empty: to be registered again. */
  registered: string;
  /** A registration with these keys was begun, and what came of it is not known: the process ended, or no answer came. */
  attempted: boolean;
}

/** The registered clients in a file of mode 0600. */
export class ClientStates {
  readonly #file: StateFile;
  readonly #byWorkflow = new Map<string, ClientState>();
  #unsaved = false;

  /** @throws Error when the file is there and is not what this program wrote: its keys must not be lost by a new start */
  constructor(file: string) {
    this.#file = new StateFile(file);
    const kept = this.#file.read();
    if (kept === undefined) return;
    const { version, clients } = (kept ?? {}) as { version?: unknown; clients?: ClientState[] };
    if (version !== 1 || !Array.isArray(clients) || !clients.every(isClient)) {
      throw new Error(`${file}: not what this program wrote; restore it, or move it away to register the clients anew`);
    }
    for (const client of clients) this.#byWorkflow.set(client.workflow, client);
  }

  get all(): readonly ClientState[] {
    return [...this.#byWorkflow.values()];
  }

  get(workflow: string): ClientState | undefined {
    return this.#byWorkflow.get(workflow);
  }

  set(client: ClientState): void {
    this.#byWorkflow.set(client.workflow, client);
  }

  delete(workflow: string): void {
    this.#byWorkflow.delete(workflow);
  }

  /** Resolves when everything up to now is on the disk. */
  async save(): Promise<void> {
    this.#unsaved = true;
    await this.#file.write(() => ({ version: 1, clients: this.all }));
    this.#unsaved = false;
  }

  /** Saves what could not be saved before. */
  async settle(): Promise<void> {
    if (this.#unsaved) await this.save();
  }
}

function isClient(value: unknown): value is ClientState {
  if (!isJsonObject(value)) return false;
  const { management, keys, signs, rotatedAt, attempted } = value;
  return (
    ['workflow', 'issuer', 'clientId', 'registered'].every((name) => typeof value[name] === 'string') &&
    (management === null ||
      (isJsonObject(management) && typeof management['uri'] === 'string' && typeof management['token'] === 'string')) &&
    Array.isArray(keys) &&
    keys.every(isPrivateKey) &&
    keys.some((key: JsonObject) => key['kid'] === signs) &&
    Number.isFinite(rotatedAt) &&
    typeof attempted === 'boolean'
  );
}

function isPrivateKey(value: unknown): boolean {
  if (!isJsonObject(value) || typeof value['kid'] !== 'string' || typeof value['d'] !== 'string') return false;
  try {
    createPrivateKey({ key: value as JsonWebKey, format: 'jwk' });
    return true;
  } catch {
    return false;
  }
}
