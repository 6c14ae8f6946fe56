import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TokenClient } from '../../src/oauth/client_credentials.ts';
import { discoverMetadata } from '../../src/oauth/metadata.ts';
import { generatePrivateJwk, importSigningKey, type SigningKey } from '../../src/oauth/signing_key.ts';
import { type Program, runSallyport } from '../support/program.ts';

let directory: string;
let key: SigningKey;
const programs: Program[] = [];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sallyport-cli-'));
  key = await importSigningKey(await generatePrivateJwk());
  await writeFile(join(directory, 'ci.json'), JSON.stringify({ keys: [key.publicJwk] }));
});
afterEach(async () => {
  for (const { child } of programs.splice(0)) child.kill('SIGKILL');
  await rm(directory, { recursive: true, force: true });
});

function sallyport(...argv: string[]): Program {
  const program = runSallyport(directory, ...argv);
  programs.push(program);
  return program;
}

const configure = (port: number, more = '') =>
  writeFile(
    join(directory, 'authserver.yaml'),
    `version: 1
listen: { port: ${port} }
signing_keys_file: keys.json
clients:
  - client_id: ci
    jwks_file: ci.json
    resources: ["https://cloud.example.com/v1"]
    scopes: ["builds:read"]
${more}`,
  );

/** The address in the line that says the program is ready. */
async function readyAt(program: Program): Promise<string> {
  await program.says('ready: ');
  return /ready: (http:\/\/[\d.]+:\d+)/.exec(program.errors())?.[1] ?? '';
}

describe('sallyport authserver', () => {
  it('serves what its file says, logs JSON to standard error, and ends in order on SIGTERM', async () => {
    await configure(0);
    const program = sallyport('authserver', '--config', 'authserver.yaml');
    const issuer = await readyAt(program);
    const server = await discoverMetadata(issuer, { timeoutMs: 2000 });
    if (!server.ok) throw new Error(server.problem);
    const options = { server: server.value, clientId: 'ci', clientKey: key, proofKey: key, timeoutMs: 5000 };
    const client = new TokenClient({ ...options, clock: Date.now });
    const token = await client.request({ resource: 'https://cloud.example.com/v1', scopes: ['builds:read'] });
    expect(token.scopes).toEqual(['builds:read']);
    program.child.kill('SIGTERM');
    expect([await program.ended, program.text()]).toEqual([0, '']);
    const lines = program
      .errors()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { msg: string });
    expect(lines.map(({ msg }) => msg)).toEqual([
      'made a signing key',
      `ready: ${issuer}`,
      'token issued',
      'stopping',
      'stopped',
    ]);
    expect(program.errors()).not.toContain(token.accessToken.split('.')[2]);
    expect(JSON.parse(await readFile(join(directory, 'keys.json'), 'utf8'))).toHaveProperty('keys');
  });

  it('exit 1: a mistake in the file, with file, line and key', async () => {
    await configure(0, 'secrets: []\n');
    const program = sallyport('authserver', '--config', 'authserver.yaml');
    expect(await program.ended).toBe(1);
    expect(program.errors()).toMatch(/authserver\.yaml:9:1: secrets: is not a known key/);
  });

  it('exit 1: what a client may have is not as its type wants it', async () => {
    await configure(0, '    authorization_details: [{ type: cloud_api, actions: [builds.get] }]\n');
    const program = sallyport('authserver', '--config', 'authserver.yaml');
    expect(await program.ended).toBe(1);
    expect(program.errors()).toContain(
      'authserver.yaml: clients[0].authorization_details[0]: has an invalid or missing identifier',
    );
  });

  // Compiles twice, which takes its time on a busy machine.
  it('issuance_policy: the policy of the folder is compiled and asked; one that does not compile is an error', {
    timeout: 90_000,
  }, async () => {
    const policy = fileURLToPath(new URL('../../policies/issuance', import.meta.url));
    await configure(0, `issuance_policy: { path: ${JSON.stringify(policy)} }\n`);
    const program = sallyport('authserver', '--config', 'authserver.yaml');
    const issuer = await readyAt(program);
    const server = await discoverMetadata(issuer, { timeoutMs: 2000 });
    if (!server.ok) throw new Error(server.problem);
    const options = { server: server.value, clientId: 'ci', clientKey: key, proofKey: key, timeoutMs: 5000 };
    const client = new TokenClient({ ...options, clock: Date.now });
    const token = await client.request({ resource: 'https://cloud.example.com/v1', scopes: ['builds:read'] });
    expect(token.scopes).toEqual(['builds:read']);
    program.child.kill('SIGTERM');
    expect(await program.ended).toBe(0);

    await writeFile(join(directory, 'broken.rego'), 'package token_issuance\n\ndecision := {');
    await configure(0, 'issuance_policy: { path: "." }\n');
    const broken = sallyport('authserver', '--config', 'authserver.yaml');
    expect(await broken.ended).toBe(1);
    expect(broken.errors()).toContain('broken.rego:3');
  });

  it('exit 1: a port that is in use', async () => {
    await configure(0);
    const first = sallyport('authserver', '--config', 'authserver.yaml');
    const port = Number(new URL(await readyAt(first)).port);
    await configure(port);
    const second = sallyport('authserver', '--config', 'authserver.yaml');
    expect([await second.ended, second.errors()]).toEqual([1, expect.stringContaining('the port is in use')]);
  });

  it('exit 2: no file named', async () => {
    const program = sallyport('authserver');
    expect([await program.ended, program.errors()]).toEqual([
      2,
      expect.stringContaining("'--config <file>' not specified"),
    ]);
  });
});

describe('sallyport demo-cloud', () => {
  it('serves the demo cloud alone until SIGTERM', async () => {
    const program = sallyport('demo-cloud', '--port', '0');
    const origin = await readyAt(program);
    const answer = await fetch(`${origin}/v1/projects`);
    expect(await answer.json()).toEqual({
      projects: [
        { id: 'p1', name: 'shop' },
        { id: 'p2', name: 'payroll' },
      ],
    });
    program.child.kill('SIGTERM');
    expect(await program.ended).toBe(0);
  });

  it('exit 2: a port that is none', async () => {
    const program = sallyport('demo-cloud', '--port', '70000');
    expect([await program.ended, program.errors()]).toEqual([2, expect.stringContaining('expected a port')]);
  });
});
