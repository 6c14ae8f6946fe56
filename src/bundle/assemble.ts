import { makeArtifact, type PolicyArtifact } from '../policy/artifact.ts';
import { mergeData } from '../policy/data_merge.ts';
import { buildPolicy, type RegoBuildRequest } from '../rego/build.ts';
import type { RegoDiagnostic, RegoModule } from '../rego/policy_source.ts';
import { type Bundle, type BundleData, BundleRefused, shownRevision } from './bundle.ts';
import { overlapOf } from './roots.ts';

/** What bundles are put together with. */
export interface AssemblyRules {
  /** The rule that the gateway asks, such as `sallyport/decision`. */
  readonly entrypoint: string;
  /** Data that is merged over that of the bundles. */
  readonly data: BundleData;
}

/** Milliseconds that one compilation may take. */
const BUILD_TIMEOUT_MS = 60_000;
/** Characters of data up to which it is looked whether a rule stands where there is data: OPA's compiler needs the whole of it for that. */
const CHECKED_DATA = 4_194_304;
/** Rules that decide what of a record a control plane gets. They are compiled where a policy has them. */
const LOG_RULES = ['system/log/drop', 'system/log/mask'];

/**
 * Makes one policy of bundles: Rego is compiled with OPA's own compiler; a WASM module that a bundle brings for the entrypoint is used as
 * it is.
 * @throws BundleRefused that says why they do not make one
 */
export async function assemble(
  bundles: ReadonlyMap<string, Bundle>,
  { entrypoint, data: own }: AssemblyRules,
): Promise<PolicyArtifact> {
  const overlap = overlapOf(bundles);
  if (overlap !== null) throw new BundleRefused('policy', overlap);
  let data: BundleData = {};
  for (const [, bundle] of bundles) data = mergeData(data, bundle.data, () => undefined);
  data = mergeData(data, own, () => undefined);
  const wasm = compiledFor(entrypoint, bundles) ?? (await compile(bundles, { entrypoint, data }));
  const named = [...bundles].map(([name, bundle]) => ({ name, revision: shownRevision(bundle) }));
  return makeArtifact({ wasm, data, entrypoint, bundles: named });
}

/** The WASM module that a bundle brings for the entrypoint; null where none does. */
function compiledFor(entrypoint: string, bundles: ReadonlyMap<string, Bundle>): Uint8Array<ArrayBuffer> | null {
  for (const [name, { compiled }] of bundles) {
    const found = compiled.find((one) => one.entrypoint === entrypoint);
    if (found === undefined) continue;
    const other = [...bundles].find(([otherName, { modules }]) => otherName !== name && modules.length > 0);
    if (other !== undefined) {
      const why = `the bundle ${name} brings ${entrypoint} as WASM, which does not see the rules of the bundle ${other[0]}`;
      throw new BundleRefused('policy', `${why}: put all Rego into one bundle, or bring none as WASM`);
    }
    return found.wasm;
  }
  return null;
}

async function compile(
  bundles: ReadonlyMap<string, Bundle>,
  { entrypoint, data }: AssemblyRules,
): Promise<Uint8Array<ArrayBuffer>> {
  const modules = [...bundles].flatMap(([name, bundle]) => bundle.modules.map((module) => named(name, module)));
  if (modules.length === 0) throw new BundleRefused('policy', missingPolicy(bundles, entrypoint));
  const versions = new Set([...bundles.values()].filter((one) => one.modules.length > 0).map((one) => one.regoVersion));
  if (versions.size > 1) throw new BundleRefused('policy', 'some bundles are written in Rego v0 and others in Rego v1');
  const text = JSON.stringify(data);
  const request: RegoBuildRequest = {
    modules,
    entrypoints: [entrypoint, ...logRulesOf(modules)],
    regoVersion: [...versions][0] ?? 1,
    ...(text.length > CHECKED_DATA ? {} : { data }),
  };
  const built = await buildPolicy(request, undefined, { timeoutMs: BUILD_TIMEOUT_MS });
  if (built.ok) return built.wasm;
  throw new BundleRefused('policy', `it does not compile:\n${built.diagnostics.map(describeDiagnostic).join('\n')}`);
}

function named(bundle: string, { path, text }: RegoModule): RegoModule {
  return { path: `${bundle}/${path.replace(/^\.?\/+/, '')}`, text };
}

function missingPolicy(bundles: ReadonlyMap<string, Bundle>, entrypoint: string): string {
  const present = [...bundles.values()].flatMap(({ compiled }) => compiled.map((one) => one.entrypoint));
  const what = present.length === 0 ? 'neither Rego nor WASM' : `WASM for ${present.join(', ')} only`;
  return `there is no ${entrypoint}: the bundles hold ${what}`;
}

/** Rules of `package system.log` that these modules define; naming one that is not there would be an error of the compiler. */
export function logRulesOf(modules: readonly RegoModule[]): string[] {
  const texts = modules.map(({ text }) => text).filter((text) => /^\s*package\s+system\.log\s*($|#)/m.test(text));
  return LOG_RULES.filter((rule) => {
    const name = rule.split('/').at(-1) ?? '';
    return texts.some((text) => new RegExp(`^\\s*(default\\s+)?${name}\\b`, 'm').test(text));
  });
}

/** A finding of the compiler as people read it. */
export function describeDiagnostic(diagnostic: RegoDiagnostic): string {
  const place = diagnostic.file === '' ? '' : `${diagnostic.file}:${diagnostic.row}:${diagnostic.column}: `;
  const source = diagnostic.text === undefined ? '' : `\n    ${diagnostic.text.trim()}`;
  return `  ${place}${diagnostic.message} (${diagnostic.code})${source}`;
}
