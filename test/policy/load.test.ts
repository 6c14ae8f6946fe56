import { afterAll, describe, expect, it } from 'vitest';
import { policyInputSchema } from '../../src/policy/input_schema.ts';
import { activatePolicy } from '../../src/policy/load.ts';
import { largeSample, SAMPLE_INPUT } from '../../src/policy/sample.ts';
import { tryPolicy } from '../../src/policy/trial.ts';
import { compileRego, regoEngine } from '../support/rego.ts';

afterAll(() => regoEngine.close());

const LARGE = { input: JSON.stringify(largeSample()), nowMs: 0 };

const SLOW = `package sallyport

decision := {"allow": count(found) > 0}

found contains [x, y] if {
	some x in input.token.authorization_details
	some y in input.token.authorization_details
	contains(x.identifier, y.identifier)
}
`;

describe('the samples that a policy is tried with', () => {
  it('are inputs as requests make them', () => {
    expect(policyInputSchema.parse(SAMPLE_INPUT)).toEqual(SAMPLE_INPUT);
    expect(policyInputSchema.parse(largeSample())).toEqual(largeSample());
    expect(JSON.stringify(largeSample()).length).toBeGreaterThan(16_384);
  });
});

describe('activating a policy', () => {
  it('yields it with its revision and artifact', async () => {
    const artifact = await compileRego('package sallyport\n\ndecision := {"allow": input.version == 1}\n');
    const policy = await activatePolicy(artifact);
    expect(policy).toMatchObject({ revision: artifact.revision, artifact });
    expect(policy.evaluate('{"version":1}', 0)).toEqual([{ allow: true }]);
    expect(policy.evaluate('{"version":2}', 0)).toEqual([{ allow: false }]);
  });

  it('works with an artifact that came from another process', async () => {
    const artifact = structuredClone(await compileRego('package sallyport\n\ndecision := {"allow": true}\n'));
    expect((await activatePolicy(artifact)).evaluate('{}', 0)).toEqual([{ allow: true }]);
  });

  it('does not ask that a sample be allowed, or decided at all', async () => {
    for (const rule of ['decision := {"allow": false}', 'decision := "no" if input.version == 2']) {
      await activatePolicy(await compileRego(`package sallyport\n\n${rule}\n`));
    }
  });

  it('refuses one that fails on a sample, with the reason', async () => {
    const artifact = await compileRego(
      'package sallyport\n\ndecision := 1 if input.version\n\ndecision := 2 if input.version\n',
    );
    await expect(activatePolicy(artifact)).rejects.toThrow(/^the policy fails on a sample request: .*conflict/);
  });

  it('refuses one that takes longer than its budget, with both numbers', async () => {
    const artifact = await compileRego(SLOW);
    await expect(activatePolicy(artifact, { budgetMs: 0.001 })).rejects.toThrow(
      /^the policy takes \d+ ms for a sample request of \d+ bytes; at most 0.001 ms are allowed$/,
    );
    await activatePolicy(artifact, { samples: [SAMPLE_INPUT], budgetMs: 60_000 });
  });

  it('refuses one that does not come to an end, and nobody waits for it meanwhile', async () => {
    const cubic = SLOW.replace(
      'contains(x',
      'some z in input.token.authorization_details\n\tcontains(z.identifier, y.identifier)\n\tcontains(x',
    );
    const trial = tryPolicy(
      { artifact: await compileRego(cubic), samples: Array.from({ length: 50 }, () => LARGE), budgetMs: 60_000 },
      3000,
    );
    let ticks = 0;
    const ticking = setInterval(() => ticks++, 10);
    await expect(trial).rejects.toThrow('the policy did not judge its sample requests within 3000 ms');
    clearInterval(ticking);
    expect(ticks).toBeGreaterThan(10);
  });
});
