import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Image, type ImageProgram } from '../support/image.ts';
import { type RedisServer, startRedis } from '../support/redis_server.ts';

/**
 * What docker-compose.yml runs, without a container engine: the image's files, its production packages, the command lines and configurations
 * of the composition with two gateway processes and a real Redis, one job's calls through it.
 */

const ROOT = resolve(import.meta.dirname, '../..');
const run = promisify(execFile);
let image: Image;
let redis: RedisServer;
let before: string[];
let state: string;
let authserver: ImageProgram;
let cloud: ImageProgram;
let gateway: ImageProgram;

beforeAll(async () => {
  image = await Image.assemble();
  state = join(image.root, 'state');
  await run(process.execPath, [join(ROOT, 'examples/compose/prepare.ts'), state]);
  image.place('state/session.json', readFileSync(join(state, 'session.json'), 'utf8'));
  for (const service of ['authserver', 'gateway']) {
    for (const { source, target } of image.mountsOf(service)) {
      const made = source.includes('/state/') ? join(state, source.split('/state/')[1] ?? '') : source;
      image.place(target, readFileSync(made, 'utf8'));
    }
  }
  const gatewayFile = 'app/examples/compose/gateway.yaml';
  // The admin port of the image is the usual one; here it has to be free.
  const config = readFileSync(join(image.root, gatewayFile), 'utf8');
  image.place(gatewayFile, `${config}admin: { port: ${image.ports['9901']} }\n`);
  before = image.listing();
  const [, ...redisOptions] = image.commandOf('redis');
  redis = await startRedis({ port: image.ports['6379'] as number, args: redisOptions });
  authserver = image.start(...image.commandOf('authserver'));
  cloud = image.start(...image.commandOf('cloud'));
  await until(authserver, 'ready: ');
  await until(cloud, 'ready: ');
  gateway = image.start(...image.commandOf('gateway'));
  await until(gateway, 'ready: ');
}, 300_000);

afterAll(async () => {
  await image?.remove();
  await redis?.stop();
});

/** Waits for a word of a program; fails with all that it said when it ends before. */
async function until({ child, ended, errors, output }: ImageProgram, word: string): Promise<void> {
  await new Promise<void>((done, fail) => {
    const look = () => void ((output() + errors()).includes(word) && done());
    child.stdout?.on('data', look);
    child.stderr?.on('data', look);
    void ended.then(() => fail(new Error(`ended without "${word}":\n${output()}\n${errors()}`)));
    look();
  });
}

async function call(...words: string[]) {
  const program = image.start('call', '--state', state, ...words);
  return { code: await program.ended, text: program.output(), errors: program.errors() };
}

const PATH = '/v1/projects/p1/builds';

describe('the image', { timeout: 60_000 }, () => {
  it('holds the packages for production and no others', () => {
    const { dependencies, devDependencies } = JSON.parse(
      readFileSync(join(image.app, 'package.json'), 'utf8'),
    ) as Record<string, Record<string, string>>;
    const installed = (name: string) => existsSync(join(image.app, 'node_modules', name));
    expect(Object.keys(dependencies ?? {}).filter((name) => !installed(name))).toEqual([]);
    expect(Object.keys(devDependencies ?? {}).filter(installed)).toEqual([]);
    expect(
      readdirSync(join(image.app, 'dist')).filter((name) => /\.ts$/.test(name) && !name.endsWith('.d.ts')),
    ).toEqual([]);
  });

  it('answers its health check', async () => {
    const [, ...words] = image.healthCheck;
    await expect(run(process.execPath, words)).resolves.toBeDefined();
  });

  it('lets a job do what it may, and refuses the rest', async () => {
    const allowed = await call('POST', PATH, '--data', '{"ref":"refs/heads/main"}');
    expect([allowed.errors, allowed.code, allowed.text]).toEqual(['', 0, expect.stringContaining('201 Created')]);
    const refused = await call('DELETE', '/v1/projects/p1');
    expect([refused.code, refused.text]).toEqual([1, expect.stringContaining('policy.insufficient_scope')]);
    const replayed = await call('GET', PATH, '--repeat-proof');
    expect([replayed.code, replayed.text]).toEqual([1, expect.stringMatching(/200 OK[\s\S]*proof\.replayed/)]);
  });

  it('writes records to standard output, one line each, and nothing secret anywhere', () => {
    const records = gateway
      .output()
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as { custom: { sallyport: { outcome: string; reason?: string } } });
    const seen = records.map(({ custom }) => custom.sallyport.reason ?? custom.sallyport.outcome);
    expect(seen.sort()).toEqual(['allowed', 'allowed', 'policy.insufficient_scope', 'proof.replayed']);
    for (const program of [gateway, authserver, cloud]) {
      expect(program.output() + program.errors()).not.toMatch(/eyJ[\w-]{20,}\.|"d":/);
    }
  });

  it('works on a file system that cannot be written: nothing below /app changed', () => {
    expect(image.listing()).toEqual(before);
  });

  it('ends in order when it is told to', async () => {
    const codes = [gateway, authserver, cloud].map(({ child, ended }) => {
      child.kill('SIGTERM');
      return ended;
    });
    expect(await Promise.all(codes)).toEqual([0, 0, 0]);
    expect(image.listing()).toEqual(before);
  });
});
