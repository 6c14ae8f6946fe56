import type { EndedKey } from '../ended_jobs/ended_keys.ts';
import { readBearerToken } from '../net/bearer_token_file.ts';
import { callEndpoint } from '../oauth/call_endpoint.ts';
import { isJsonObject } from '../oauth/strict_json.ts';
import type { EndingSink } from './endings.ts';

/** Milliseconds that a gateway may take to answer. */
const TIMEOUT_MS = 2000;

/** The admin port of a gateway that keeps ended jobs in memory. */
export class GatewayPort implements EndingSink {
  readonly name: string;
  readonly #url: string;
  readonly #tokenFile: string;
  #instance: string | null = null;
  #up = false;

  /** @throws Error when the token cannot be read */
  constructor({ url, api_token_file: tokenFile }: { readonly url: string; readonly api_token_file: string }) {
    this.name = url;
    this.#url = `${url.replace(/\/$/, '')}/ended-jobs`;
    this.#tokenFile = tokenFile;
    readBearerToken(tokenFile);
  }

  get up(): boolean {
    return this.#up;
  }

  async deliver(keys: readonly EndedKey[]): Promise<void> {
    const body = keys.map(({ thumbprint, expiresAt }) => ({ thumbprint, expires_at: Math.ceil(expiresAt / 1000) }));
    const answer = await callEndpoint({
      url: this.#url,
      method: 'POST',
      headers: { ...this.#authorization(), 'content-type': 'application/json' },
      body: JSON.stringify({ keys: body }),
      timeoutMs: TIMEOUT_MS,
    });
    this.#up = answer.ok && answer.status === 204;
    if (!answer.ok) throw new Error(`the gateway ${answer.problem}`);
    if (answer.status !== 204) throw new Error(`the gateway answered with status ${answer.status}`);
  }

  /** Another start of the gateway may have forgotten what this broker told the one before. */
  async forgot(): Promise<boolean> {
    let answer: Awaited<ReturnType<typeof callEndpoint>>;
    try {
      answer = await callEndpoint({
        url: this.#url,
        method: 'GET',
        headers: this.#authorization(),
        timeoutMs: TIMEOUT_MS,
      });
    } catch {
      this.#up = false; // The token file is being replaced.
      return false;
    }
    const instance = answer.ok && isJsonObject(answer.value) ? answer.value['instance'] : undefined;
    this.#up = typeof instance === 'string';
    if (typeof instance !== 'string' || instance === this.#instance) return false;
    const another = this.#instance !== null;
    this.#instance = instance;
    return another;
  }

  async close(): Promise<void> {}

  #authorization(): Record<string, string> {
    return { authorization: `Bearer ${readBearerToken(this.#tokenFile)}` };
  }
}
