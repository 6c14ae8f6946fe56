import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A bearer token that is long enough. */
export const API_TOKEN = 'test-only-0123456789abcdef0123456789abcdef';

/** Writes a token file as an operator does. @returns its path */
export function writeApiToken(folder: string, token: string = API_TOKEN, mode = 0o600): string {
  const path = join(folder, 'admin.token');
  writeFileSync(path, `${token}\n`, { mode });
  return path;
}

/** Tells a gateway, through its admin port, that the jobs of these keys have ended. */
export function endKeys(admin: string, thumbprints: readonly string[], expiresInSeconds = 300): Promise<Response> {
  const expires_at = Math.floor(Date.now() / 1000) + expiresInSeconds;
  return fetch(`${admin}/ended-jobs`, {
    method: 'POST',
    headers: { authorization: `Bearer ${API_TOKEN}`, 'content-type': 'application/json' },
    body: JSON.stringify({ keys: thumbprints.map((thumbprint) => ({ thumbprint, expires_at })) }),
  });
}
