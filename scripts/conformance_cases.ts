/**
 * Makes test/policy/conformance_cases.json.br: OPA's own conformance cases, as far as they use only what
 * engine/capabilities.json allows. They come with OPA's Go module, under its licence (Apache-2.0), so Go must be installed.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync } from 'node:zlib';
import { parse } from 'yaml';
import { buildPolicy } from '../src/rego/build.ts';
import { RegoEngine } from '../src/rego/engine_host.ts';
import { evalPolicy } from '../src/rego/eval.ts';
import { type ConformanceCase, conformanceModules } from '../test/policy/conformance_case.ts';

interface SourceCase {
  readonly note: string;
  readonly query: string;
  readonly modules?: readonly string[];
  readonly data?: Record<string, unknown>;
  readonly input?: unknown;
  readonly input_term?: string;
  readonly want_result?: readonly Record<string, unknown>[];
  readonly want_error?: string;
  readonly want_error_code?: string;
  readonly strict_error?: boolean;
  readonly env?: unknown;
}

const MODULE = 'github.com/open-policy-agent/opa';
const engineFolder = fileURLToPath(new URL('../engine/', import.meta.url));
const listed = spawnSync('go', ['list', '-m', '-f', '{{.Dir}} {{.Version}}', MODULE], { cwd: engineFolder });
const [moduleFolder, version] = String(listed.stdout).trim().split(' ');
if (listed.status !== 0 || moduleFolder === undefined) throw new Error(`go list failed: ${listed.stderr}`);

/** A case as the test wants it; undefined where JSON cannot hold its input, or it is about something else. */
function convert(source: SourceCase): ConformanceCase | undefined {
  const { note, query, modules = [], data, want_result, want_error, want_error_code, strict_error, env } = source;
  if (env !== undefined || (want_result === undefined && want_error_code === undefined)) return undefined;
  let input = source.input;
  if (source.input_term !== undefined) {
    try {
      input = JSON.parse(source.input_term);
    } catch {
      return undefined;
    }
  }
  const fails = want_error !== undefined || want_error_code !== undefined;
  return { note, query, modules, data, input, fails: fails && strict_error !== true, want: want_result ?? [] };
}

/** What a case that fails in OPA's strict mode gives otherwise, which is the gateway's mode. */
async function lenientAnswer(conformance: ConformanceCase): Promise<ConformanceCase> {
  const { data, input } = conformance;
  const inputs = input === undefined ? {} : { inputs: [input] };
  const request = { modules: conformanceModules(conformance), query: 'data.query.result', data, ...inputs };
  const { results } = await evalPolicy(request, engine);
  return { ...conformance, want: (results[0]?.result[0]?.expressions[0]?.value ?? []) as ConformanceCase['want'] };
}

const casesFolder = join(moduleFolder, 'v1', 'test', 'cases', 'testdata', 'v1');
const engine = new RegoEngine();
const cases: ConformanceCase[] = [];
let read = 0;
for (const name of readdirSync(casesFolder, { recursive: true, encoding: 'utf8' }).sort()) {
  if (!name.endsWith('.yaml')) continue;
  const { cases: sources } = parse(readFileSync(join(casesFolder, name), 'utf8')) as { cases: readonly SourceCase[] };
  for (const source of sources) {
    read += 1;
    const found = convert(source);
    if (found === undefined) continue;
    const built = await buildPolicy({ modules: conformanceModules(found), entrypoints: ['query/result'] }, engine);
    if (built.ok) cases.push(source.strict_error === true ? await lenientAnswer(found) : found);
  }
}
await engine.close();
const document = { source: `${MODULE} ${version}, v1/test/cases, Apache-2.0`, cases };
const file = new URL('../test/policy/conformance_cases.json.br', import.meta.url);
writeFileSync(file, brotliCompressSync(JSON.stringify(document)));
process.stdout.write(`test/policy/conformance_cases.json.br: ${cases.length} of ${read} cases\n`);
