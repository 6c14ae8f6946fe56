import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makePolicyFolder, type PolicyFolder, SOUND } from './policy_folder.ts';

let folder: PolicyFolder;
beforeAll(() => {
  folder = makePolicyFolder({
    ...SOUND,
    'p/more.rego': `# METADATA
# title: More of it
package sallyport.more

# METADATA
# title: Whether a name is there
named(names, name) if {
	startswith(input.request.headers["content-type"][0], "application/")
	count(names) > 0
	name in names
}
`,
  });
});
afterAll(() => folder.remove());

describe('sallyport policy deps', { timeout: 60_000 }, () => {
  it('tells what a decision reads and by which rules', async () => {
    const { code, text } = await folder.policy('deps');
    expect(code).toBe(0);
    expect(text.split('\n')).toEqual([
      'reads of the input:',
      '  input.job.environment',
      '  input.token.claims.limit',
      'reads of the data:',
      '  data.p.environments',
      'by the rules:',
      '  data.sallyport.decision',
      '  data.sallyport.denials',
      '  data.sallyport.environment_listed',
      '  data.sallyport.limit_kept',
      expect.stringContaining('A path stands for all that is below it'),
      '',
    ]);
  });

  it('says it as JSON, also of another rule', async () => {
    const { code, text } = await folder.policy('deps', '--json', '--entrypoint', 'sallyport/limit_kept');
    expect(code).toBe(0);
    expect(JSON.parse(text)).toEqual({
      ok: true,
      entrypoint: 'sallyport/limit_kept',
      input: [['token', 'claims', 'limit']],
      data: [],
      rules: ['data.sallyport.limit_kept'],
    });
  });

  it('exits 1 for a rule that is not there, and for a policy that does not compile', async () => {
    const { code, errors } = await folder.policy('deps', '--entrypoint', 'sallyport/other');
    expect([code, errors]).toEqual([1, expect.stringContaining('policies has no rule data.sallyport.other')]);
    const broken = makePolicyFolder({ 'a.rego': 'package sallyport\n\ndecision if nothing(1)\n' });
    const refused = await broken.policy('deps');
    broken.remove();
    expect(refused.code).toBe(1);
    expect(refused.text).toContain('policies/a.rego:3:13: undefined function nothing');
  });
});

describe('sallyport policy inspect', { timeout: 60_000 }, () => {
  it('lists packages, rules, titles, data and functions', async () => {
    const { code, text } = await folder.policy('inspect');
    expect(code).toBe(0);
    expect(text).toBe(`package sallyport
  policies/p/decision.rego
    decision (entrypoint)
    denials
    environment_listed
    limit_kept
package sallyport.more: More of it
  policies/p/more.rego
    named (function): Whether a name is there
data: p
functions: count, eq, equal, gt, internal.member_2, is_number, lte, startswith
2 modules, 1 test file
`);
  });

  it('says what a compiled policy does not have', async () => {
    const foreign = makePolicyFolder({
      'a.rego': 'package a\n\nallow if http.send({"url": input.url}).status_code == 200\n',
    });
    const { code, text } = await foreign.policy('inspect', '--json');
    foreign.remove();
    expect(code).toBe(1);
    expect(JSON.parse(text)).toMatchObject({
      ok: false,
      packages: [{ name: 'a', files: ['a.rego'], rules: [{ name: 'allow' }] }],
      findings: [{ message: 'undefined function http.send', hint: expect.stringContaining('capabilities.json') }],
    });
  });
});

describe('what every command of sallyport policy says when it cannot begin', { timeout: 60_000 }, () => {
  it.each(['check', 'lint', 'test', 'fmt', 'build', 'mutate', 'deps', 'inspect'])(
    '%s: no such folder is 1',
    async (name) => {
      const { code, errors } = await folder.policy(name, 'nowhere');
      expect([code, errors]).toEqual([1, expect.stringContaining('nowhere cannot be read: there is no such folder')]);
      const json = await folder.policy(name, 'nowhere', '--json');
      expect([json.code, JSON.parse(json.text)]).toEqual([
        1,
        { ok: false, error: 'nowhere cannot be read: there is no such folder' },
      ]);
    },
  );

  it.each(['check', 'lint', 'test', 'fmt', 'build', 'mutate', 'deps', 'inspect', 'eval', 'explain', 'new'])(
    '%s: an unknown option is 2',
    async (name) => {
      const { code, errors } = await folder.policy(name, '--no-such-option');
      expect([code, errors]).toEqual([2, expect.stringContaining("unknown option '--no-such-option'")]);
    },
  );

  it.each([[['eval']], [['explain', '--record', 'records.jsonl']], [['eval', '--method', 'GET']]])(
    '%s: too little to judge is 2',
    async (argv) => {
      const { code, errors } = await folder.policy(...argv);
      expect([code, errors]).toEqual([2, expect.stringMatching(/give --input FILE|--record needs --decision/)]);
      const json = await folder.policy(...argv, '--json');
      expect([json.code, JSON.parse(json.text)]).toMatchObject([2, { ok: false }]);
    },
  );
});
