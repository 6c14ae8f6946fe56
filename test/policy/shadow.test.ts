import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { PolicyArtifact } from '../../src/policy/artifact.ts';
import { type ShadowOptions, ShadowPolicy, type ShadowVerdict } from '../../src/policy/shadow.ts';
import { eventually } from '../support/eventually.ts';
import { compileRego, regoEngine } from '../support/rego.ts';

/** Says what it is asked to; /slow takes many seconds, /conflict fails. */
const REGO = `package sallyport

decision := {"allow": true} if input.ask in {"allow", "conflict"}

decision := {"allow": false, "reasons": [{"code": "no"}]} if input.ask in {"refuse", "conflict"}

decision := {"allow": count(found) > 0} if input.ask == "slow"

decision := {"allow": input.seconds == time.now_ns() / 1000000000} if input.ask == "time"

found contains "never" if {
	list := numbers.range(1, 5000)
	some x in list
	some y in list
	some z in list
	x > y
	y > z
	z > x
}
`;

let artifact: PolicyArtifact;
let shadow: ShadowPolicy;
beforeAll(async () => {
  artifact = await compileRego(REGO);
});
afterEach(() => shadow.retire());
afterAll(() => regoEngine.close());

const start = async (options: ShadowOptions = {}) => {
  shadow = await ShadowPolicy.start(artifact, options);
};
const ask = (question: string, nowMs = 0): Promise<ShadowVerdict | null> | null =>
  shadow.judge(JSON.stringify({ ask: question, seconds: 7 }), nowMs);
const words = (verdict: ShadowVerdict | null) => {
  if (verdict === null) return 'unsaid';
  return verdict.judgement.ok ? 'allow' : verdict.judgement.denial.reason;
};

describe('a candidate policy in its thread', () => {
  it('judges as it would judge live, each question by itself and with the time of its request', async () => {
    await start();
    expect(shadow.revision).toBe(artifact.revision);
    const verdicts = await Promise.all([
      ask('allow'),
      ask('refuse'),
      ask('nothing'),
      ask('time', 7000),
      ask('time', 1),
    ]);
    expect(verdicts.map((verdict) => words(verdict))).toEqual([
      'allow',
      'policy.denied',
      'policy.undefined',
      'allow',
      'policy.denied',
    ]);
    expect(verdicts.every((verdict) => (verdict?.milliseconds ?? -1) >= 0)).toBe(true);
  });

  it('goes on after an evaluation that fails', async () => {
    await start();
    const failed = await ask('conflict');
    expect(failed?.judgement).toMatchObject({
      ok: false,
      denial: { reason: 'policy.failed', note: expect.any(String) },
    });
    expect(words((await ask('allow')) ?? null)).toBe('allow');
  });

  it('is ended when an evaluation takes too long, says so of that one, rests, and comes back', async () => {
    await start({ timeoutMs: 300, restMs: 200 });
    const [slow, behind] = [ask('slow'), ask('allow')];
    expect(await slow).toMatchObject({
      judgement: { ok: false, denial: { reason: 'policy.failed', note: 'its evaluation took longer than 300 ms' } },
    });
    expect(await behind).toBeNull();
    expect(ask('allow')).toBeNull();
    await eventually('it judges again', async () => {
      const verdict = await ask('allow');
      await sleep(20);
      return verdict !== null && words(verdict) === 'allow';
    });
  });

  it('is not asked more than can wait, and what waits is answered', async () => {
    await start({ timeoutMs: 20_000 });
    const asked = Array.from({ length: 1500 }, () => ask('allow'));
    expect(asked.filter((verdict) => verdict === null)).toHaveLength(500);
    const answers = await Promise.all(asked.slice(0, 1000));
    expect(answers.every((verdict) => words(verdict) === 'allow')).toBe(true);
    expect(words((await ask('allow')) ?? null)).toBe('allow');
  });

  it('is not asked more text than can wait', async () => {
    await start({ timeoutMs: 20_000 });
    const long = JSON.stringify({ ask: 'allow', text: 'x'.repeat(200_000) });
    const asked = Array.from({ length: 60 }, () => shadow.judge(long, 0));
    expect(asked.filter((verdict) => verdict !== null)).toHaveLength(41);
    expect((await Promise.all(asked)).filter((verdict) => words(verdict) === 'allow')).toHaveLength(41);
  });

  it('that is retired answers what it was asked, and nothing more', async () => {
    await start();
    const asked = [ask('allow'), ask('refuse')];
    shadow.retire();
    expect(ask('allow')).toBeNull();
    expect((await Promise.all(asked)).map((verdict) => words(verdict))).toEqual(['allow', 'policy.denied']);
  });

  it('that could not be live is refused with the reason a live one would get', async () => {
    await start();
    const failing = await compileRego(
      'package sallyport\n\ndecision := 1 if input.version\n\ndecision := 2 if input.version\n',
    );
    await expect(ShadowPolicy.start(failing)).rejects.toThrow(/^the policy fails on a sample request: .*conflict/);
    await expect(ShadowPolicy.start({ ...artifact, entrypoint: 'sallyport/other' })).rejects.toThrow(/no entrypoint/);
  });
});
