import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readAnswer } from '../../src/policy/output.ts';
import { normalizeHtu } from '../../src/proof/htu.ts';
import { readTarget } from '../../src/request/target.ts';
import { signJws } from '../support/sign_jws.ts';
import { type Outcome, PATH, Wire } from '../support/wire.ts';
import { FUZZ_TIMEOUT, fuzzed } from './fuzzing.ts';

/** Texts that nobody thought of, in every place where a text is read: targets, JSON of proofs and tokens, confirmations, answers of policies. */

let wire: Wire;
beforeAll(async () => {
  wire = await Wire.start();
});
afterAll(() => wire.close());

/** Never 5xx, at most one request upstream, the judged target is the sent one, one record, and nothing of a credential anywhere. */
function holds({ answer, upstream, summary, record }: Outcome): void {
  expect(answer.status).toBeLessThan(500);
  expect(upstream).toHaveLength(answer.status === 200 ? 1 : 0);
  expect(summary['status']).toBe(answer.status);
  const [request] = upstream;
  if (request !== undefined) {
    expect(request.target.split('?', 1)[0]).toBe(summary['path']);
    expect(request.head).not.toMatch(/eyJ[\w-]{20,}|authorization:|dpop:|cookie:/i);
  }
  expect(JSON.stringify(record)).not.toMatch(/eyJ[\w-]{40,}\.eyJ/);
}

const TRICKS = [
  '/',
  '//',
  '\\',
  '.',
  '..',
  '%2e',
  '%2F',
  '%5c',
  '%00',
  '%0d%0a',
  ';',
  '?',
  '#',
  '%',
  '%25',
  'é',
  '%c0%ae',
  '*',
  ' ',
  '\t',
  '@',
  ':',
];
const segment = fc.oneof(fc.constantFrom('v1', 'projects', 'p1', 'builds', ...TRICKS), fc.string({ maxLength: 6 }));
const target = fc.oneof(
  fc.array(segment, { maxLength: 8 }).map((parts) => `/${parts.join('/')}`),
  fc.array(segment, { maxLength: 8 }).map((parts) => parts.join('')),
  fc
    .tuple(fc.nat(PATH.length), fc.constantFrom(...TRICKS))
    .map(([at, put]) => PATH.slice(0, at) + put + PATH.slice(at)),
  fc
    .tuple(fc.constantFrom('http', 'https', 'HTTPS', 'ftp'), segment, segment)
    .map(([scheme, host, rest]) => `${scheme}://${host}/${rest}`),
);

/** JSON with white space, repeated members, odd numbers and cut ends. */
const jsonText = fc
  .tuple(
    fc.jsonValue({ maxDepth: 3 }),
    fc.array(
      fc.tuple(
        fc.nat(),
        fc.constantFrom('"', '{', '}', ',', ':', '\\u0061', '1e999', '\u0000', ' ', '\ufeff', '"jti":"x",'),
      ),
      { maxLength: 3 },
    ),
  )
  .map(([value, cuts]) =>
    cuts.reduce((text, [at, put]) => {
      const place = at % (text.length + 1);
      return text.slice(0, place) + put + text.slice(place);
    }, JSON.stringify(value)),
  );

const anyValue = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constant(undefined), fc.string());

describe('texts that nobody thought of', { timeout: FUZZ_TIMEOUT }, () => {
  it('property: any target over the wire', async () => {
    await fc.assert(
      fc.asyncProperty(target, async (text) => {
        // What cannot stand in a request line at all is for the tests of framing.
        fc.pre(!/[\r\n]/.test(text) && text !== '' && !text.includes(' '));
        const token = wire.token();
        const path = text.startsWith('/') ? (text.split('?', 1)[0] as string) : PATH;
        holds(await wire.send({ target: text, lines: wire.lines(token, wire.proof(token, { path })) }));
      }),
      fuzzed(200),
    );
  });

  it('property: whatever target is read, its segments are those of its path, and its path is what was sent', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          target,
          fc.string({ unit: 'binary', maxLength: 60 }).map((text) => `/${text}`),
        ),
        (text) => {
          const read = readTarget(text);
          if (!read.ok || read.value.origin !== null) return;
          const { target: parsed, needs } = read.value;
          expect(text.startsWith(parsed.path)).toBe(true);
          expect(
            parsed.path
              .slice(1)
              .split('/')
              .map((part) => decodeURIComponent(part)),
          ).toEqual(parsed.segments);
          if (needs === 0)
            expect(parsed.segments.some((part) => part === '.' || part === '..' || /[/\\\0]/.test(part))).toBe(false);
        },
      ),
      fuzzed(2000),
    );
  });

  it('property: normal forms of htu are their own normal form', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.webUrl({ withQueryParameters: true, withFragments: true }), fc.string(), target),
        (text) => {
          const normal = normalizeHtu(text);
          if (normal !== null) expect(normalizeHtu(normal)).toBe(normal);
        },
      ),
      fuzzed(2000),
    );
  });

  it('property: any JSON text as header or payload of a proof, signed', async () => {
    await fc.assert(
      fc.asyncProperty(jsonText, fc.boolean(), async (text, asHeader) => {
        const token = wire.token();
        const [header, claims] = [wire.proofHeader(), wire.proofClaims(token)];
        const proof = asHeader ? signJws(text, claims, wire.jobKey) : signJws(header, text, wire.jobKey);
        const outcome = await wire.send({ lines: wire.lines(token, proof) });
        holds(outcome);
        expect(outcome.answer.status).toBe(401);
      }),
      fuzzed(150),
    );
  });

  it('property: any JSON text as payload of a token, signed', async () => {
    await fc.assert(
      fc.asyncProperty(jsonText, async (text) => {
        const outcome = await wire.send({ lines: wire.lines(wire.signToken(wire.tokenHeader(), text)) });
        holds(outcome);
        expect(outcome.answer.status).toBe(401);
      }),
      fuzzed(100),
    );
  });

  it('property: any cnf, under both schemes: only the right key alone passes, and never as a bearer token', async () => {
    const members = fc.dictionary(fc.constantFrom('jkt', 'x5t#S256', 'jwk', 'jku', 'kid', 'JKT', 'x'), anyValue, {
      maxKeys: 3,
    });
    const good = () => ({ jkt: wire.jobKey.thumbprint });
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          members,
          anyValue,
          members.map((each) => ({ ...each, jkt: 'right' })),
        ),
        fc.boolean(),
        async (shape, bearer) => {
          const isRight = typeof shape === 'object' && shape !== null && (shape as { jkt?: unknown }).jkt === 'right';
          const cnf = isRight ? { ...(shape as object), ...good() } : shape;
          const token = wire.token({ claims: { cnf } });
          const lines = bearer ? [`Authorization: Bearer ${token}`] : wire.lines(token);
          const outcome = await wire.send({ lines });
          holds(outcome);
          const passes =
            !bearer &&
            isRight &&
            Object.keys(cnf as object).filter((name) => (cnf as Record<string, unknown>)[name] !== undefined).length ===
              1;
          expect(outcome.answer.status === 200).toBe(passes);
        },
      ),
      fuzzed(150),
    );
  });

  it('property: any answer of a policy: nothing but allow: true, with obligations that are known, allows', () => {
    const obligation = fc.oneof(
      fc.record({
        type: fc.constantFrom('set_header', 'deadline_ms', 'user_authentication', 'x'),
        name: anyValue,
        value: anyValue,
        milliseconds: anyValue,
      }),
      anyValue,
    );
    const answer = fc.oneof(
      fc.record(
        {
          allow: fc.oneof(fc.constant(true), anyValue),
          reasons: fc.oneof(
            fc.array(fc.record({ code: fc.oneof(fc.constant('a'), anyValue), message: anyValue })),
            anyValue,
          ),
          requires: anyValue,
          obligations: fc.oneof(fc.array(obligation, { maxLength: 3 }), anyValue),
          extra: anyValue,
        },
        { requiredKeys: [] },
      ),
      anyValue,
    );
    fc.assert(
      fc.property(fc.array(answer, { maxLength: 2 }), (values) => {
        const read = readAnswer(values);
        if (!read.ok) {
          expect(read.denial.reason).toMatch(/^policy\./);
          return;
        }
        expect(values).toHaveLength(1);
        expect((values[0] as { allow: unknown }).allow).toBe(true);
        expect(values[0]).not.toHaveProperty('extra');
      }),
      fuzzed(2000),
    );
  });
});
