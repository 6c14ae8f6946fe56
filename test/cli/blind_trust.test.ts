import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { makeCertificate } from '../support/certificate.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

it('NODE_TLS_REJECT_UNAUTHORIZED=0 is refused before anybody is asked: an identity token would go to whoever answers', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-blind-'));
  const received: (string | undefined)[] = [];
  const server = https.createServer(
    { ...makeCertificate({ name: 'broker', hosts: ['127.0.0.1'] }) },
    (request, response) => {
      received.push(request.headers.authorization);
      response.end('{}');
    },
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const origin = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const config = join(folder, 'agent.yaml');
  writeFileSync(
    config,
    `version: 1\nbroker:\n  url: ${origin}\n  identity: { source: environment, variable: JOB_TOKEN }\napis:\n  - { name: cloud, url: ${origin}, scopes: [x] }\n`,
  );
  const exec = (variables: Record<string, string>) =>
    new Promise<[unknown, string]>((resolve) => {
      const argv = [MAIN, 'agent', 'exec', '--config', config, '--', 'true'];
      const env = { PATH: process.env['PATH'], JOB_TOKEN: 'e30.e30.AA', ...variables };
      execFile(process.execPath, argv, { env }, (error, _stdout, stderr) => resolve([error?.code ?? 0, stderr]));
    });
  try {
    const [code, stderr] = await exec({ NODE_TLS_REJECT_UNAUTHORIZED: '0' });
    expect([code, received]).toEqual([1, []]);
    expect(stderr).toContain('NODE_TLS_REJECT_UNAUTHORIZED=0 is set');
    const [without, why] = await exec({});
    expect([without, received]).toEqual([1, []]);
    expect(why).toMatch(/broker|certificate/);
  } finally {
    server.close();
    rmSync(folder, { recursive: true });
  }
});
