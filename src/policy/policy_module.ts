import { BUILTINS, type BuiltinContext, type BuiltinResult } from './builtins.ts';
import { parseRegoValue, type RegoValue } from './rego_value.ts';

/** The exports of a WASM policy that are used here: OPA's ABI, version 1. */
interface PolicyExports {
  readonly builtins: () => number;
  readonly opa_json_dump: (address: number) => number;
  readonly opa_json_parse: (address: number, length: number) => number;
  readonly opa_malloc: (length: number) => number;
  readonly opa_value_dump: (address: number) => number;
  readonly opa_wasm_abi_version: { readonly value: number };
  readonly opa_wasm_abi_minor_version: { readonly value: number };
}

/** Why a WASM policy cannot be used: it is none, its ABI is unknown, or it needs built-in functions nobody has. */
export class PolicyModuleError extends Error {
  /** The built-in functions that are missing; empty for any other reason. */
  readonly missing: readonly string[];

  constructor(message: string, missing: readonly string[] = []) {
    super(message);
    this.name = 'PolicyModuleError';
    this.missing = missing;
  }
}

/** A WASM policy in its own memory, ready for opa-wasm's `LoadedPolicy`. */
export interface PolicyModuleInstance {
  readonly instance: WebAssembly.Instance;
  readonly memory: WebAssembly.Memory;
  readonly minorVersion: number;
  /** The built-in functions that the policy asks for, sorted. */
  readonly builtins: readonly string[];
}

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** Reads a text that ends with a zero byte. */
function readText(memory: WebAssembly.Memory, address: number): string {
  const bytes = new Uint8Array(memory.buffer);
  return decoder.decode(bytes.subarray(address, bytes.indexOf(0, address)));
}

/** JSON text of a result. `JSON.stringify` has no bigint. */
function resultText(result: Exclude<BuiltinResult, undefined>): string {
  if (typeof result === 'bigint') return String(result);
  if (Array.isArray(result)) return `[${result.map(resultText).join()}]`;
  return JSON.stringify(result);
}

/** How a WASM policy is started. */
export interface PolicyModuleOptions {
  /** Read at each call of a built-in, so its owner may change it between evaluations. */
  readonly context: BuiltinContext;
  /** Pages of 64 KiB. Memory that is there from the start costs nothing until it is used. Default: 5, without maximum. */
  readonly memory?: { readonly initial: number; readonly maximum?: number };
  /** Gets what the policy prints. Default: nobody. */
  readonly print?: (text: string) => void;
}

/** Compiles and starts a WASM policy; see {@link instantiatePolicyModule}. */
export async function startPolicyModule(
  wasm: Uint8Array<ArrayBuffer>,
  context: BuiltinContext,
  print?: (text: string) => void,
): Promise<PolicyModuleInstance> {
  return instantiatePolicyModule(
    await compilePolicyModule(wasm),
    print === undefined ? { context } : { context, print },
  );
}

/** Compiles a WASM policy, without running anything of it. Throws {@link PolicyModuleError}. */
export async function compilePolicyModule(wasm: Uint8Array<ArrayBuffer>): Promise<WebAssembly.Module> {
  try {
    return await WebAssembly.compile(wasm);
  } catch (error) {
    throw new PolicyModuleError(`not a WASM policy: ${String(error)}`);
  }
}

/**
 * Starts a WASM policy with the gateway's built-in functions. opa-wasm's own loader is not used for this: it hands
 * built-ins JSON, in which sets are arrays and long numbers lose digits, prefers its own `sprintf` and `yaml.*`, which
 * differ from OPA's, and prints to the console.
 *
 * Throws {@link PolicyModuleError}. What goes wrong later, during an evaluation, is thrown there as an `Error`: the
 * policy's own abort (two values for one rule), or a built-in that cannot give OPA's answer.
 */
export function instantiatePolicyModule(
  module: WebAssembly.Module,
  options: PolicyModuleOptions,
): PolicyModuleInstance {
  const { context, print = () => undefined } = options;
  const memory = new WebAssembly.Memory(options.memory ?? { initial: 5 });
  let exports: PolicyExports;
  const names = new Map<number, string>();

  const call = (id: number, _context: number, ...operands: number[]): number => {
    const run = BUILTINS.get(names.get(id) ?? '');
    if (run === undefined) throw new Error(`the policy called an unknown built-in function, number ${id}`);
    const values: RegoValue[] = operands.map((address) =>
      parseRegoValue(readText(memory, exports.opa_value_dump(address))),
    );
    const result = run(context, ...values);
    if (result === undefined) return 0;
    const bytes = encoder.encode(resultText(result));
    const address = exports.opa_malloc(bytes.length);
    new Uint8Array(memory.buffer).set(bytes, address);
    return exports.opa_json_parse(address, bytes.length);
  };
  const abort = (address: number): never => {
    throw new Error(readText(memory, address));
  };
  const env = {
    memory,
    opa_abort: abort,
    opa_println: (address: number) => print(readText(memory, address)),
    opa_builtin0: call,
    opa_builtin1: call,
    opa_builtin2: call,
    opa_builtin3: call,
    opa_builtin4: call,
  };
  let instance: WebAssembly.Instance;
  try {
    instance = new WebAssembly.Instance(module, { env });
    exports = instance.exports as unknown as PolicyExports;
    const needed = JSON.parse(readText(memory, exports.opa_json_dump(exports.builtins()))) as Record<string, number>;
    for (const [name, id] of Object.entries(needed)) names.set(id, name);
  } catch (error) {
    throw new PolicyModuleError(`not a WASM policy: ${String(error)}`);
  }
  const version = exports.opa_wasm_abi_version.value;
  const minorVersion = exports.opa_wasm_abi_minor_version.value;
  if (version !== 1 || minorVersion < 2) {
    throw new PolicyModuleError(`the policy was built for ABI ${version}.${minorVersion}; 1.2 or later is needed`);
  }
  const builtins = [...names.values()].sort();
  const missing = builtins.filter((name) => !BUILTINS.has(name));
  if (missing.length > 0) {
    throw new PolicyModuleError(`the gateway does not have the built-in functions ${missing.join(', ')}`, missing);
  }
  return { instance, memory, minorVersion, builtins };
}
