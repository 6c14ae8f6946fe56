import { CLIENT_ASSERTION_TYPE, makeClientAssertion } from '../../src/oauth/client_assertion.ts';
import type { SigningKey } from '../../src/oauth/signing_key.ts';
import type { TestServer } from './fixture.ts';

/** Who asks, with which key. */
export interface Asking {
  readonly clientId: string;
  readonly key: SigningKey;
}

/** An answer, its body as text. */
export interface Asked {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** Asks one of the endpoints about a token (RFC 7662 §2.1, RFC 7009 §2.1). A parameter that is null is left out. */
export async function askAbout(
  server: TestServer,
  endpoint: 'introspect' | 'revoke',
  { clientId, key }: Asking,
  parameters: Record<string, string | null>,
  headers: Record<string, string> = {},
): Promise<Asked> {
  const assertion = await makeClientAssertion({ clientId, issuer: server.issuer, key, clock: Date.now });
  const form = new URLSearchParams();
  const all = { client_assertion_type: CLIENT_ASSERTION_TYPE, client_assertion: assertion, ...parameters };
  for (const [name, value] of Object.entries(all)) if (value !== null) form.append(name, value);
  const response = await fetch(`${server.address}/${endpoint}`, { method: 'POST', headers, body: form });
  return { status: response.status, headers: response.headers, text: await response.text() };
}
