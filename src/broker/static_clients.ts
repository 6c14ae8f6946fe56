import type { WorkflowConfig } from '../config/workflows_schema.ts';
import type { SigningKey } from '../oauth/signing_key.ts';
import { SigningKeyFile } from '../oauth/signing_key_file.ts';
import type { Log } from '../telemetry/log.ts';

/** How a workflow authenticates at the authorization server. */
export interface WorkflowClient {
  readonly clientId: string;
  readonly key: SigningKey;
}

/** Clients that were set up at the authorization server by hand, with their keys in files. */
export class StaticClients {
  readonly #files = new Map<string, SigningKeyFile>();
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Null when the key cannot be used; the log says why. */
  async use({
    client_id: clientId,
    private_key_file: file,
  }: NonNullable<WorkflowConfig['client']>): Promise<WorkflowClient | null> {
    try {
      let key = this.#files.get(file);
      if (key === undefined) {
        key = new SigningKeyFile(file, (problem) =>
          this.#log.error({ problem }, 'the new key of a client was refused; the old one stays'),
        );
        this.#files.set(file, key);
      }
      return { clientId, key: await key.current() };
    } catch (error) {
      this.#log.error({ err: error, client_id: clientId }, 'the key of a client cannot be used');
      return null;
    }
  }
}
