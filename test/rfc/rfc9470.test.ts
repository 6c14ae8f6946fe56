import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readChallenges } from '../support/challenges.ts';
import { compilePolicy } from '../support/compiled_policy.ts';
import { expectAllowed, expectRefused } from '../support/expect_outcome.ts';
import { TRANSPORTS } from '../support/transports.ts';
import { NOW, type Outcome, Wire } from '../support/wire.ts';

/**
 * RFC 9470 over the wire: what a policy demands of the authentication behind a token, by a refusal of its own (paths below /v1/refused) or
 * by an obligation that the gateway holds the token to (below /v1/held).
 */

const REFUSED = 'policy.insufficient_user_authentication';
const POLICY = `package sallyport

default decision := {"allow": false}

what := input.request.segments[2]

decision := {"allow": true, "obligations": [demands[what]]} if input.request.segments[1] == "held"

decision := {"allow": false, "reasons": reasons[what], "requires": requires[what]} if input.request.segments[1] == "refused"

demands := {
	"acr": {"type": "user_authentication", "acr_values": ["phr", "mfa"], "max_age": null},
	"age": {"type": "user_authentication", "acr_values": null, "max_age": 300},
	"both": {"type": "user_authentication", "acr_values": ["phr"], "max_age": 300},
	"broken": {"type": "user_authentication", "acr_values": "phr", "max_age": null},
}

step_up := {"code": "insufficient_user_authentication"}

reasons := {
	"acr": [step_up],
	"age": [step_up],
	"both": [step_up, {"code": "insufficient_scope"}],
	"nothing": [step_up],
	"broken": [step_up],
	"long": [step_up],
}

requires := {
	"acr": {"acr_values": ["phr", "mfa"]},
	"age": {"max_age": 300},
	"both": {"acr_values": ["phr"], "max_age": 0, "scopes": ["projects:admin"]},
	"nothing": {},
	"broken": {"acr_values": "phr"},
	"long": {"acr_values": [strings.repeat("x", 256) | some i in numbers.range(1, 16)]},
}
`.replace('strings.repeat("x", 256)', `"${'x'.repeat(256)}"`);

let wire: Wire;
beforeAll(async () => {
  wire = await Wire.start({ artifact: await compilePolicy(POLICY), transports: TRANSPORTS });
});
afterAll(() => wire.close());

const ask = (path: string, claims: Record<string, unknown> = {}) =>
  wire.call({ path: `/v1/${path}`, token: wire.token({ claims }) });

function challengeOf({ answer }: Outcome): Record<string, string> {
  return { ...readChallenges(answer.headers['www-authenticate'] ?? [])[0]?.parameters };
}

describe('RFC 9470 §3: the challenge', () => {
  it.each<[string, Record<string, string | undefined>]>([
    ['acr', { acr_values: 'phr mfa', max_age: undefined, scope: undefined }],
    ['age', { acr_values: undefined, max_age: '300', scope: undefined }],
    ['both', { acr_values: 'phr', max_age: '0', scope: 'projects:admin' }],
    ['nothing', { acr_values: undefined, max_age: undefined, scope: undefined }],
  ])(
    'RFC 9470 §3: 401 insufficient_user_authentication with what the policy requires (%s)',
    async (what, parameters) => {
      const outcome = await ask(`refused/${what}`);
      expectRefused(outcome, REFUSED);
      const challenge = challengeOf(outcome);
      for (const [name, value] of Object.entries(parameters)) expect([name, challenge[name]]).toEqual([name, value]);
    },
  );

  it('RFC 9470 §3: what is required stands in the answer too', async () => {
    const { problem } = await ask('refused/both');
    expect(problem?.['required']).toEqual({ acr_values: ['phr'], max_age: 0, scopes: ['projects:admin'] });
  });

  it('RFC 9470 §3: what no parameter can carry refuses as a broken policy, and says nothing', async () => {
    const outcome = await ask('refused/broken');
    expect([outcome.answer.status, outcome.problem?.['reason']]).toEqual([403, 'policy.malformed']);
    expect(outcome.answer.headers).not.toHaveProperty('www-authenticate');
  });

  it('RFC 9470 §3: a list that is too long is cut to what a header field holds', async () => {
    const outcome = await ask('refused/long');
    expectRefused(outcome, REFUSED);
    expect(challengeOf(outcome)['acr_values']?.length).toBeLessThanOrEqual(1024);
  });
});

describe('RFC 9470 §6: acr and auth_time of the token', () => {
  it.each<[string, Record<string, unknown>]>([
    ['held/acr', { acr: 'phr' }],
    ['held/acr', { acr: 'mfa', auth_time: 1 }],
    ['held/age', { auth_time: NOW }],
    ['held/age', { auth_time: NOW - 300 }],
    ['held/age', { auth_time: NOW + 10 }],
    ['held/both', { acr: 'phr', auth_time: NOW - 1 }],
  ])('RFC 9470 §6: %s with %j passes', async (path, claims) => {
    expectAllowed(await ask(path, claims));
  });

  it.each<[string, Record<string, unknown>]>([
    ['held/acr', {}],
    ['held/acr', { acr: null }],
    ['held/acr', { acr: 'pwd' }],
    ['held/acr', { acr: 'phr mfa' }],
    ['held/acr', { acr: 'PHR' }],
    ['held/acr', { acr: ['phr'] }],
    ['held/acr', { acr: { 0: 'phr' } }],
    ['held/acr', { acr: '' }],
    ['held/age', {}],
    ['held/age', { auth_time: null }],
    ['held/age', { auth_time: NOW - 301 }],
    ['held/age', { auth_time: NOW + 11 }],
    ['held/age', { auth_time: String(NOW) }],
    ['held/age', { auth_time: [NOW] }],
    ['held/age', { auth_time: true }],
    ['held/age', { auth_time: NOW * 1000 }],
    ['held/both', { acr: 'phr' }],
    ['held/both', { auth_time: NOW }],
    ['held/both', { acr: 'mfa', auth_time: NOW }],
    ['held/both', { acr: 'phr', auth_time: NOW - 3600 }],
  ])('RFC 9470 §6: %s with %j does not suffice', async (path, claims) => {
    const outcome = await ask(path, claims);
    expectRefused(outcome, REFUSED);
    const { acr_values: acrs, max_age: age } = challengeOf(outcome);
    const expected = { 'held/acr': ['phr mfa', undefined], 'held/age': [undefined, '300'] }[path] ?? ['phr', '300'];
    expect([acrs, age]).toEqual(expected);
  });

  it('RFC 9470 §6: the gateway asks again for each request, whatever it remembers of the token', async () => {
    const token = wire.token({ claims: { acr: 'phr', auth_time: wire.now - 290, exp: wire.now + 300 } });
    expectAllowed(await wire.call({ path: '/v1/held/age', token }));
    wire.now += 20;
    expectRefused(await wire.call({ path: '/v1/held/age', token }), REFUSED);
    wire.now = NOW;
  });

  it('RFC 9470 §6: a demand that is not understood refuses', async () => {
    const { answer, problem } = await ask('held/broken', { acr: 'phr' });
    expect([answer.status, problem?.['reason']]).toEqual([403, 'policy.malformed']);
  });
});
