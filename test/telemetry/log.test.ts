import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createLog, type LogOptions } from '../../src/telemetry/log.ts';

const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;
const JWS = 'eyJ0eXAiOiJhdCtqd3QifQ.eyJzdWIiOiJhIn0.c2lnbmF0dXJl';

function logging(options: Partial<LogOptions> = {}) {
  const lines: string[] = [];
  const log = createLog({
    level: 'debug',
    clock: () => 1_795_376_000_000,
    destination: { write: (line) => lines.push(line) },
    ...options,
  });
  return { log, lines, last: () => JSON.parse(lines.at(-1) ?? '') as Record<string, unknown> };
}

describe('createLog', () => {
  it('writes one JSON object for each call, with level, time from the clock and fields', () => {
    const { log, last } = logging();
    log.info({ origin: 'http://127.0.0.1:8080', admin: null }, 'ready: %s', 'yes');
    expect(last()).toMatchObject({
      level: 'info',
      time: '2026-11-22T19:33:20.000Z',
      origin: 'http://127.0.0.1:8080',
      admin: null,
      msg: 'ready: yes',
    });
  });

  it('leaves out what is below its level', () => {
    const { log, lines } = logging({ level: 'warn' });
    log.info('no');
    log.warn('yes');
    expect(lines).toHaveLength(1);
  });

  it('takes credentials out of messages, fields, nested fields and the fields of child logs', () => {
    const { log, lines } = logging();
    log.warn({ headers: { Authorization: `DPoP ${JWS}`, nested: [{ cookie: 'session-4711' }] } }, `sent ${JWS}`);
    log.child({ client_secret: 'secret-4711', dpop: JWS }).warn('GET /x?access_token=query-4711 failed');
    log.warn('the answer was %j', { refresh_token: 'refresh-4711' });
    const text = lines.join('');
    for (const secret of [JWS, 'c2lnbmF0dXJl', 'session-4711', 'secret-4711', 'query-4711', 'refresh-4711']) {
      expect(text).not.toContain(secret);
    }
    expect(lines).toHaveLength(3);
  });

  it('tells class, code, message, place and cause of an error, and none of its other members', () => {
    const { log, last, lines } = logging();
    const error = Object.assign(new TypeError('broken', { cause: new Error('because\nof this') }), {
      code: 'ECODE',
      request: { body: 'body-4711' },
    });
    log.error({ err: error }, 'failed');
    expect(last()['err']).toMatchObject({
      type: 'TypeError',
      code: 'ECODE',
      message: 'broken',
      cause: { type: 'Error', message: 'because\\u000aof this' },
    });
    expect((last()['err'] as { stack: string[] }).stack[0]).toContain('log.test.ts');
    expect(lines.join('')).not.toContain('body-4711');
  });

  it('property: one line for each call, whatever the texts, and nothing a terminal would act on', () => {
    const { log, lines } = logging();
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (name, text) => {
        lines.length = 0;
        log.info({ [name]: text, nested: { [text]: [text] } }, text);
        log.error(new Error(text));
        expect(lines).toHaveLength(2);
        for (const line of lines) {
          expect(line.slice(0, -1)).not.toMatch(UNSAFE);
          expect(line.endsWith('\n')).toBe(true);
          JSON.parse(line);
        }
      }),
    );
  });

  it('pretty: a text from outside cannot start a line or colour the terminal', () => {
    process.env['NO_COLOR'] = '1';
    const { log, lines } = logging({ pretty: true });
    delete process.env['NO_COLOR'];
    log.warn({ kid: 'x\n[00:00:00] FATAL: forged', name: '\u001b[2J' }, 'a\r\n[00:00:00] FATAL: forged \u001b[31m');
    const printed = lines.join('');
    expect(printed.split('\n').filter((line) => /^\[/.test(line))).toHaveLength(1);
    expect(printed.replaceAll('\n', '')).not.toMatch(UNSAFE);
    expect(printed).toContain('WARN');
  });

  it('writes to standard error, never to standard output', () => {
    const module = join(import.meta.dirname, '../../src/telemetry/log.ts');
    const program = `import { createLog } from ${JSON.stringify(module)}; createLog({ level: 'info' }).info('hello');`;
    const run = spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' });
    expect(run.stdout).toBe('');
    expect(JSON.parse(run.stderr)).toMatchObject({ level: 'info', msg: 'hello' });
  });

  it('outlives a reader of standard error that is gone', () => {
    const module = join(import.meta.dirname, '../../src/telemetry/log.ts');
    const program = `import { createLog } from ${JSON.stringify(module)};
      const log = createLog({ level: 'info' });
      for (let i = 0; i < 50; i++) { log.info('x'.repeat(1000)); await new Promise((r) => setTimeout(r, 2)); }
      console.log('alive');`;
    const run = spawnSync(
      'sh',
      ['-c', `{ "$0" --input-type=module -e "$1" 2>&3 | cat >&4; } 3>&1 4>&2 | true`, process.execPath, program],
      {
        encoding: 'utf8',
      },
    );
    expect(run.stderr).toContain('alive');
  });
});
