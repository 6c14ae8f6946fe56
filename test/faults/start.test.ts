import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeCertificate } from '../support/certificate.ts';
import { runSallyport } from '../support/program.ts';
import type { RecordingUpstream } from '../support/recording_upstream.ts';
import { startRedis } from '../support/redis_server.ts';
import { Scene } from './scene.ts';

/** Milliseconds for a start that fails, on a busy machine. */
const START = { timeout: 60_000 };

let scene: Scene;
let upstream: RecordingUpstream;

beforeAll(async () => {
  scene = await Scene.create();
  upstream = await scene.upstream();
});

afterAll(() => scene.close());

/** What a gateway says that is expected not to start. */
async function refusal(
  name: string,
  changes: Record<string, unknown>,
  route?: Record<string, unknown>,
): Promise<string> {
  const { code, errors } = await scene.failing(scene.config(upstream.origin, changes, route), `${name}.yaml`);
  expect(code).toBe(1);
  expect(errors).not.toContain('ready: ');
  // For people: no stack, no JSON.
  expect(errors).not.toMatch(/^ {4}at /m);
  return errors;
}

describe('a command line that is wrong: exit code 2', () => {
  it.concurrent.each([
    { argv: ['gatewy'], says: "unknown command 'gatewy'" },
    { argv: ['gateway'], says: "required option '--config <file>' not specified" },
    { argv: ['gateway', '--config', 'x', '--confg'], says: "unknown option '--confg'" },
  ])('$argv', START, async ({ argv, says }) => {
    const program = runSallyport(scene.folder, ...argv);
    expect(await program.ended).toBe(2);
    expect(program.errors()).toContain(says);
  });
});

describe('a configuration that is wrong: exit code 1, says file, line, key and what to do', () => {
  it.concurrent('no such file', START, async () => {
    const program = runSallyport(scene.folder, 'gateway', '--config', 'nowhere.yaml');
    expect(await program.ended).toBe(1);
    expect(program.errors()).toContain('nowhere.yaml');
  });

  it.concurrent('an unknown key: the nearest known one', START, async () => {
    const errors = await refusal('unknown', { limits: { stop_grace: 1 } });
    expect(errors).toMatch(/unknown\.yaml:\d+:\d+: limits\.stop_grace: .*stop_grace_ms/);
  });

  it.concurrent('more than one process with a memory store', START, async () => {
    const errors = await refusal('store', { processes: 2 });
    expect(errors).toMatch(/store\.yaml:\d+:\d+: processes: .*replay\.store: redis/);
  });

  it.concurrent('an operation catalogue with a mistake in it', START, async () => {
    writeFileSync(join(scene.folder, 'catalogue.yaml'), 'service: projects\noperations:\n  - nam: projects.list\n');
    const errors = await refusal('catalogued', {}, { operations: 'catalogue.yaml' });
    expect(errors).toMatch(/catalogue\.yaml:3:\d+: operations\[0\]\.nam: /);
  });

  it.concurrent('certificate and key that do not belong together', START, async () => {
    const [one, other] = [makeCertificate({ name: 'one' }), makeCertificate({ name: 'other' })];
    writeFileSync(join(scene.folder, 'one.crt'), one.cert);
    writeFileSync(join(scene.folder, 'other.key'), other.key);
    const tls = { certificate_file: 'one.crt', key_file: 'other.key' };
    const errors = await refusal('tls', { listen: { port: 0, tls } });
    expect(errors).toMatch(/listen\.tls: .*one\.crt and .*other\.key cannot be used together/);
  });
});

describe('what stands around it is wrong: exit code 1, says what and what to do', () => {
  it.concurrent('EADDRINUSE: the port, out of worker processes', START, async () => {
    const redis = await startRedis();
    scene.atEnd(() => redis.stop());
    const errors = await refusal('port', {
      listen: { port: redis.port },
      replay: { store: 'redis', redis: { url: redis.url } },
      processes: 2,
    });
    expect(errors).toContain(`cannot listen on 127.0.0.1:${redis.port}: the port is in use`);
  });

  it.concurrent('EADDRINUSE: the admin port', START, async () => {
    const errors = await refusal('admin', { admin: { port: upstream.port } });
    expect(errors).toContain(`cannot listen on 127.0.0.1:${upstream.port}: the port is in use`);
  });

  it.concurrent('a folder for records that does not exist', START, async () => {
    const errors = await refusal('records', { audit: { sinks: [{ type: 'file', path: 'no/folder/records.jsonl' }] } });
    expect(errors).toMatch(/audit\.sinks\[0\]\.path: .*its folder does not exist/);
  });

  it.concurrent('an upstream CA that cannot be read', START, async () => {
    const errors = await refusal('ca', {}, { upstream: { url: 'https://127.0.0.1:1', ca_file: 'nowhere.pem' } });
    expect(errors).toContain('nowhere.pem');
  });
});

describe('a policy that cannot be used: exit code 1', () => {
  const policyOf = (name: string, text: string) => {
    mkdirSync(join(scene.folder, name));
    writeFileSync(join(scene.folder, name, 'decision.rego'), text);
    return { path: name, watch: false };
  };

  it.concurrent('a folder that does not exist', START, async () => {
    const errors = await refusal('missing', { policy: { path: 'no_policies' } });
    expect(errors).toMatch(/no_policies.*(no such|does not exist)/);
  });

  it.concurrent('Rego that does not compile: file and line', START, async () => {
    const policy = policyOf('broken', 'package sallyport\n\ndecision := {"allow": undefined_thing}\n');
    const errors = await refusal('broken_policy', { policy });
    expect(errors).toMatch(/decision\.rego:3:\d+: .*undefined_thing is unsafe/);
  });

  it.concurrent('a built-in function that the gateway does not have: its name', START, async () => {
    const text =
      'package sallyport\n\ndecision := {"allow": http.send({"url": "https://example.com"}).status_code == 200}\n';
    const errors = await refusal('builtin_policy', { policy: policyOf('builtin', text) });
    expect(errors).toMatch(/decision\.rego:3:\d+: .*http\.send/);
  });
});
