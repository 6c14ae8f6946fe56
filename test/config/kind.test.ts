import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CONFIG_KINDS, type ConfigKind, EDITOR_SCHEMAS, kindOf } from '../../src/config/kind.ts';
import { ConfigError, keyOf, pathOfKey } from '../../src/config/problems.ts';

/** Whose configuration a file is, for any choice of keys; through the command: test/cli/config_check_kinds.test.ts. */

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-kind-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const keysOf = (kind: ConfigKind) => Object.keys((EDITOR_SCHEMAS[kind]() as { properties: object }).properties);
const ALL = Object.fromEntries(CONFIG_KINDS.map((kind) => [kind, keysOf(kind)])) as Record<ConfigKind, string[]>;
/** Keys that one program alone has. */
const own = (kind: ConfigKind) =>
  ALL[kind].filter((key) => CONFIG_KINDS.every((other) => other === kind || !ALL[other].includes(key)));

function kindOfKeys(keys: readonly string[]): ConfigKind {
  const file = join(folder, 'config.yaml');
  writeFileSync(file, JSON.stringify(Object.fromEntries(keys.map((key) => [key, null]))));
  return kindOf(file);
}

describe('kindOf', () => {
  it.each(CONFIG_KINDS)('%s: by any of its own keys, whatever it shares, and with half as many of others', (kind) => {
    const shared = ALL[kind].filter((key) => !own(kind).includes(key));
    const foreign = CONFIG_KINDS.filter((other) => other !== kind).flatMap((other) => own(other));
    const choice = fc
      .tuple(fc.subarray(own(kind), { minLength: 1 }), fc.subarray(shared), fc.subarray(foreign))
      .map(([mine, common, others]) => [...mine, ...common, ...others.slice(0, Math.floor(mine.length / 2))]);
    fc.assert(fc.property(choice, (keys) => kindOfKeys(keys) === kind));
  });

  it('as many of one as of another: an error that names keys of every program', () => {
    const pairs = CONFIG_KINDS.flatMap((one) =>
      CONFIG_KINDS.filter((other) => other > one).map((other) => [one, other] as const),
    );
    for (const [one, other] of pairs) {
      const error = catchError(() => kindOfKeys([own(one)[0] ?? '', own(other)[0] ?? '']));
      expect(error).toBeInstanceOf(ConfigError);
      for (const kind of CONFIG_KINDS) expect((error as Error).message).toMatch(new RegExp(`^ {2}${kind} `, 'm'));
    }
  });

  it('any JSON at all: a program or a ConfigError, never anything else', () => {
    const file = join(folder, 'any.yaml');
    const decide = (text: string) => {
      writeFileSync(file, text);
      const error = catchError(() => expect(CONFIG_KINDS).toContain(kindOf(file)));
      return error === null || error instanceof ConfigError;
    };
    fc.assert(fc.property(fc.json(), decide));
    fc.assert(fc.property(fc.string(), decide));
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom(...CONFIG_KINDS.flatMap(keysOf), '__proto__', 'constructor'), fc.jsonValue()),
        (value) => decide(JSON.stringify(value)),
      ),
    );
  });
});

describe('pathOfKey', () => {
  it('reads what keyOf writes', () => {
    const part = fc.oneof(fc.stringMatching(/^[a-z_]+$/), fc.nat({ max: 1000 }));
    const path = fc.tuple(fc.stringMatching(/^[a-z_]+$/), fc.array(part)).map(([first, rest]) => [first, ...rest]);
    fc.assert(
      fc.property(
        path,
        (parts) => keyOf(pathOfKey(keyOf(parts))) === keyOf(parts) && isDeepStrictEqual(pathOfKey(keyOf(parts)), parts),
      ),
    );
  });
});

function catchError(step: () => unknown): unknown {
  try {
    step();
    return null;
  } catch (error) {
    return error;
  }
}
