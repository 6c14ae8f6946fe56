import { readFileSync } from 'node:fs';
import type { RegoEngine } from './engine_host.ts';

/** One Rego file: the name that diagnostics show, and its text. */
export interface RegoModule {
  readonly path: string;
  readonly text: string;
}

/** The policy an operation works on. */
export interface RegoPolicy {
  /** The modules; no path twice. `build` must not be given test modules. */
  readonly modules: readonly RegoModule[];
  /** The base document, `data` in Rego: an object. Default: empty. */
  readonly data?: unknown;
  /**
   * What the policy may use. `gateway` (the default) is `engine/capabilities.json`: what the gateway can evaluate.
   * `discovery` is that and `opa.runtime`, for the interpreter. `opa` is everything OPA knows; such a policy may not run as WASM. Or a
   * capabilities document in OPA's format.
   */
  readonly capabilities?: 'gateway' | 'discovery' | 'opa' | object;
  /** 1 for Rego v1 (the default), -1 for the older v0 syntax of some foreign bundles. */
  readonly regoVersion?: 1 | -1;
}

/** One finding about a policy. */
export interface RegoDiagnostic {
  /** The module's path; empty where the finding is about the policy as a whole. */
  readonly file: string;
  /** Line, from 1; 0 where the finding has no place. */
  readonly row: number;
  /** Column, from 1; 0 where the finding has no place. */
  readonly column: number;
  /** How many characters of the line the finding is about; 0 where that is not known. */
  readonly length: number;
  /** OPA's code, such as `rego_type_error`. */
  readonly code: string;
  readonly message: string;
  /** The line of source. */
  readonly text?: string;
  /** Further lines that explain the finding, such as the types that were expected. */
  readonly details?: readonly string[];
}

/** A place in a module; `text` is the source of what is there. */
export interface RegoPlace {
  readonly file: string;
  readonly row: number;
  readonly column: number;
  readonly text: string;
}

/** A capabilities document in OPA's format. */
interface Capabilities {
  readonly builtins: readonly object[];
}

/** What tells a policy about the program that evaluates it; the gateway's policies have it all in their input. */
const RUNTIME_BUILTIN = {
  name: 'opa.runtime',
  decl: { type: 'function', result: { type: 'object', dynamic: { key: { type: 'string' }, value: { type: 'any' } } } },
  nondeterministic: true,
};

const gatewayCapabilities = new Map<string, Capabilities>();

/** The members of {@link RegoPolicy} as the engine reads them, and nothing else of what `policy` has. */
export function policyRequest(policy: RegoPolicy, engine: RegoEngine): Record<string, unknown> {
  const { modules, data, capabilities = 'gateway', regoVersion } = policy;
  return {
    modules: modules.map(({ path, text }) => ({ path, text })),
    data,
    regoVersion,
    capabilities: typeof capabilities === 'string' ? namedCapabilities(capabilities, engine) : capabilities,
  };
}

function namedCapabilities(name: 'gateway' | 'discovery' | 'opa', engine: RegoEngine): Capabilities | undefined {
  if (name === 'opa') return undefined;
  const gateway = readGateway(engine);
  return name === 'gateway' ? gateway : { ...gateway, builtins: [...gateway.builtins, RUNTIME_BUILTIN] };
}

function readGateway(engine: RegoEngine): Capabilities {
  const file = new URL('capabilities.json', engine.folder);
  let value = gatewayCapabilities.get(file.href);
  if (value === undefined) {
    value = JSON.parse(readFileSync(file, 'utf8')) as Capabilities;
    gatewayCapabilities.set(file.href, value);
  }
  return value;
}
