import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

/** `npm run demo:flow`, as a person runs it; what each step sees to is in examples/flow. */

const FLOW = resolve(import.meta.dirname, '../../examples/flow/flow.ts');
const living = new Set<ReturnType<typeof spawn>>();
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-whole-flow-'));
});
afterAll(() => {
  for (const child of living) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

/** Plays the flow; with `interrupt` it is stopped once it has said that. */
function play(
  variables: Record<string, string> = {},
  interrupt?: { readonly at: string; readonly by: 'SIGTERM' | 'closed pipe' },
) {
  const env = { ...process.env, TMPDIR: folder, ...variables };
  const child = spawn(process.execPath, [FLOW], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  living.add(child);
  let text = '';
  let told = false;
  const keep = (chunk: string) => {
    text += chunk;
    if (interrupt === undefined || told || !text.includes(interrupt.at)) return;
    told = true;
    if (interrupt.by === 'SIGTERM') child.kill('SIGTERM');
    else child.stdout.destroy();
  };
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', keep);
  return new Promise<{ code: number | null; text: string }>((done) => {
    child.once('close', (code) => {
      living.delete(child);
      done({ code, text });
    });
  });
}

/** Every port of loopback that was named is free again, and no file is left. */
async function expectNothingLeft(text: string): Promise<void> {
  const ports = [...new Set([...text.matchAll(/127\.0\.0\.1:(\d+)/g)].map(([, port]) => Number(port)))];
  expect(ports.length).toBeGreaterThan(5);
  const answers = await Promise.all(
    ports.map(
      (port) =>
        new Promise<boolean>((done) => {
          const socket = connect(port, '127.0.0.1', () => done(true)).on('error', () => done(false));
          socket.setTimeout(2000, () => socket.destroy());
        }),
    ),
  );
  expect(ports.filter((_port, index) => answers[index])).toEqual([]);
  expect(readdirSync(folder).filter((name) => name.startsWith('sallyport-'))).toEqual([]);
}

const rowsOf = (text: string, name: string) =>
  [...text.matchAll(new RegExp(`^   ${name} +(.*)$`, 'gm'))].map(([, row = '']) => row);

describe('the whole flow', { timeout: 180_000 }, () => {
  it('goes from the registration of a workflow to the end of its jobs, every step as it must, and leaves nothing', async () => {
    const { code, text } = await play();
    expect([code, code === 0 ? '' : text]).toEqual([0, '']);
    const steps = [...text.matchAll(/^(\d+)\. /gm)].map(([, number]) => Number(number));
    expect(steps).toEqual(Array.from({ length: 17 }, (_none, index) => index + 1));

    // A client by dynamic registration, tokens with less than was asked for.
    expect(text).toMatch(/came back +client \S+ for the workflow ship/);
    expect(rowsOf(text, 'granted')).toEqual([
      'https://cloud.example.com/v1: scope projects:read builds:read builds:write',
      'http://dynamodb.cloud.example.com/: scope tables:read tables:write',
      'http://kubernetes.cloud.example.com/: scope discovery:read pods:read configuration:write',
    ]);
    expect(text).toContain('projects.get, builds.list, builds.create on projects/p1 (cloud_api)\n');

    // Three tools before the end of the job, the same three after it.
    expect(
      rowsOf(text, 'printed').map((row) => row.replace(/^\{"type".*?"reason":"([\w.]+)".*$|^\{"type".*$/, '$1')),
    ).toEqual([
      '{"id":"p1","name":"shop"} HTTP 200',
      '{"id":{"S":"d1"},"ref":{"S":"main"}}',
      '{"pods":["web-1"],"data":{"ref":"main"}}',
      '',
      '',
      'HTTP 403',
      'HTTP 403',
      '{"id":"p1","name":"shop"} HTTP 200',
      '',
      'HTTP 401',
      'HTTP 401',
      'sallyport agent: the job has ended; 13 requests, 7 refused by the gateway',
      '{"id":"p1","name":"shop"}',
    ]);

    // The agent's words: operation, what the token has, what would do, decision.
    expect(text).toContain(
      'the gateway refused DELETE /v1/projects/p1 (cloud), which is projects.delete on projects/p1, with 403: The scope of the access token does not cover this operation (policy.insufficient_scope).',
    );
    expect(text).toContain('What would do: scope projects:admin, and projects.delete on projects/p1 (cloud_api).');
    expect(text).toContain(
      'The token has: scope projects:read builds:read builds:write, and projects.get, builds.list, builds.create on projects/p1 (cloud_api).',
    );
    expect(text).toContain('which is secrets.list on namespaces/shop/secrets, with 403');
    expect(text.match(/^ +Decision [\w-]{36}\.$/gm)).toHaveLength(7);

    // What was copied is of no use, and after the end of the job none of its tokens is.
    expect(rowsOf(text, 'tried').map((row) => row.replace(/^.*: /, ''))).toEqual([
      '401 proof.replayed',
      '401 proof.target',
      '401 proof.key_mismatch',
      '401 proof.bound_token_as_bearer',
      '401',
    ]);
    expect(rowsOf(text, 'refused').map((row) => row.replace(/, \S+ \w+ after/, ', after'))).toEqual(
      ['cloud', 'dynamodb', 'kubernetes', 'cloud'].map(
        (api) => `the token for ${api}: 401 token.job_ended, after the end`,
      ),
    );
    expect(text).not.toMatch(/eyJ[\w-]{20,}/);
    expect(text).not.toContain('\x1b');
    await expectNothingLeft(text);
  });

  it('a step that cannot be played fails the whole, and nothing is left either', async () => {
    const bin = join(folder, 'empty');
    mkdirSync(bin);
    const { code, text } = await play({ PATH: bin });
    expect([code, text]).toEqual([1, expect.stringContaining('FAILED')]);
    expect(text).toContain('curl is not on PATH');
    expect(text).toContain('Not every step went as it must; see above.');
    await expectNothingLeft(text);
  });

  it('stops when it is told to', async () => {
    const { code, text } = await play({}, { at: '\n2. ', by: 'SIGTERM' });
    expect([code, text]).toEqual([1, expect.stringMatching(/FAILED +SIGTERM/)]);
    await expectNothingLeft(text);
  });

  it('stops when nobody reads it any more', async () => {
    const { code, text } = await play({}, { at: '\n1. ', by: 'closed pipe' });
    expect(code).toBe(1);
    await expectNothingLeft(text);
  });
});
