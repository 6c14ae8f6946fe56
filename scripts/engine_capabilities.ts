/**
 * Makes engine/capabilities.json: what a policy in the gateway may use, in OPA's own format. That is the built-in
 * functions that OPA's WASM target has itself (found by compiling a call of each and asking the module which ones it
 * wants from its host), and those that src/policy/builtins.ts supplies. With --check the file is compared only.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { BUILTINS } from '../src/policy/builtins.ts';
import { buildPolicy } from '../src/rego/build.ts';
import { RegoEngine } from '../src/rego/engine_host.ts';

interface BuiltinDeclaration {
  readonly name: string;
  readonly decl: { readonly args?: readonly unknown[]; readonly result?: unknown };
}

interface Capabilities {
  readonly builtins: readonly BuiltinDeclaration[];
  readonly future_keywords: readonly string[];
  readonly features: readonly string[];
}

/** Resolved while compiling, so that none of them is ever called: language, metadata, and what only tests use. */
const COMPILED_AWAY = [
  ...['assign', 'eq', 'internal.member_2', 'internal.member_3', 'internal.template_string'],
  ...['rego.metadata.chain', 'rego.metadata.rule', 'print', 'internal.print', 'internal.test_case'],
];

/** Native in the WASM target, but format_int ends the evaluation of numbers from 2^32 on; `sprintf("%d")` does not. */
const DIFFERENT = ['format_int'];

async function findNative(known: Capabilities, engine: RegoEngine): Promise<ReadonlySet<string>> {
  const probed = known.builtins.filter(({ name }) => !COMPILED_AWAY.includes(name));
  const rules = probed.map(({ name, decl }, index) => {
    const operands = (decl.args ?? []).map((_, place) => `input.a${place}`).join(', ');
    return `r${index} = x { ${decl.result === undefined ? 'x := true; ' : 'x := '}${name}(${operands}) }`;
  });
  // The old syntax still knows the deprecated built-ins, which bundles from elsewhere may use.
  const text = `package probe\n\n${rules.join('\n')}\n`;
  const modules = [{ path: 'probe.rego', text }];
  const built = await buildPolicy({ modules, entrypoints: ['probe'], capabilities: 'opa', regoVersion: -1 }, engine);
  if (!built.ok) throw new Error(`the probe does not compile: ${JSON.stringify(built.diagnostics)}`);
  return new Set(probed.map(({ name }) => name).filter((name) => !built.builtins.includes(name)));
}

/** Documentation is left out; names stay, because messages show them. */
function withoutDescriptions(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutDescriptions);
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.entries(value).filter(([name]) => name !== 'description');
  return Object.fromEntries(members.map(([name, member]) => [name, withoutDescriptions(member)]));
}

function describe(builtin: BuiltinDeclaration): string {
  return JSON.stringify(withoutDescriptions(builtin));
}

const engine = new RegoEngine();
const known = await engine.call<Capabilities>('capabilities', {});
const native = await findNative(known, engine);
const unknown = [...BUILTINS.keys()].filter((name) => !known.builtins.some((builtin) => builtin.name === name));
if (unknown.length > 0) throw new Error(`no built-in functions of OPA: ${unknown.join(', ')}`);
const allowed = known.builtins.filter(({ name }) => {
  if (DIFFERENT.includes(name)) return false;
  return native.has(name) || BUILTINS.has(name) || COMPILED_AWAY.includes(name);
});
const text = `{
"builtins": [
${allowed.map(describe).join(',\n')}
],
"future_keywords": ${JSON.stringify(known.future_keywords)},
"features": ${JSON.stringify(known.features)},
"wasm_abi_versions": [{"version": 1, "minor_version": 2}, {"version": 1, "minor_version": 3}],
"allow_net": []
}
`;
await engine.close();

const file = new URL('../engine/capabilities.json', import.meta.url);
if (!process.argv.includes('--check')) {
  writeFileSync(file, text);
  process.stdout.write(`engine/capabilities.json: ${native.size} native, ${BUILTINS.size} supplied\n`);
} else if (readFileSync(file, 'utf8') !== text) {
  process.stderr.write('engine/capabilities.json is stale: run "node scripts/engine_capabilities.ts"\n');
  process.exitCode = 1;
}
