import * as opaWasm from '@open-policy-agent/opa-wasm';
import type { PolicyArtifact } from './artifact.ts';
import { exceedsLimit, INPUT_LIMIT_BYTES } from './input.ts';
import { compilePolicyModule, instantiatePolicyModule, PolicyModuleError } from './policy_module.ts';

/** What is used of opa-wasm's policy: its data, its entrypoints and where they leave the memory; its type declarations name the class only for `require`. */
interface OpaPolicy {
  readonly entrypoints: Readonly<Record<string, number>>;
  readonly dataAddr: number;
  readonly dataHeapPtr: number;
  setData(data: ArrayBuffer): void;
}

const OpaPolicy = (opaWasm as unknown as { readonly default: { readonly LoadedPolicy: OpaPolicyClass } }).default
  .LoadedPolicy;

type OpaPolicyClass = new (
  instance: WebAssembly.Instance,
  memory: WebAssembly.Memory,
  minorVersion: number,
) => OpaPolicy;

/** The exports of a WASM policy that are called here: OPA's ABI, 1.2 and later. */
interface PolicyExports {
  opa_malloc(bytes: number): number;
  opa_eval(
    reserved: 0,
    entrypoint: number,
    data: number,
    input: number,
    inputBytes: number,
    heap: number,
    format: 0,
  ): number;
}

const PAGE_BYTES = 65_536;
/** The largest memory that WASM can address. */
const MAXIMUM_PAGES = 65_536;
/** Bytes of memory that a byte of data in JSON takes, in the usual case and in the worst one (measured: about 14 and 45). */
const DATA_FACTOR = 16;
const LARGEST_DATA_FACTOR = 64;
/** Memory for the module's own data and stack, the input, and a usual evaluation. */
const BASE_BYTES = 2_097_152 + INPUT_LIMIT_BYTES;
/** How much one evaluation may take beyond that: then it fails, and with it the request. */
const EVALUATION_LIMIT_BYTES = 67_108_864;
/** Memory never shrinks: an instance that grew by more than this in one evaluation is given up. */
const KEPT_GROWTH_BYTES = 8_388_608;

/** One instance of the policy: its memory and the places in it. */
interface Instance {
  readonly exports: PolicyExports;
  readonly memory: WebAssembly.Memory;
  readonly entrypoint: number;
  readonly entrypoints: Readonly<Record<string, number>>;
  readonly data: number;
  /** Where the input is written, and the heap of an evaluation begins behind it. */
  readonly heap: number;
  /** Bytes of memory before the first evaluation. */
  readonly startBytes: number;
  bytes: Buffer;
}

/**
 * Evaluates one policy, in this thread, with one instance of its WASM module. The only user of opa-wasm: its loader is replaced by
 * `policy_module.ts`, and its `evaluate` by a direct call of `opa_eval`, which saves a tenth of the time and does not grow the memory
 * behind the module's back, after which the module would grow it again at every allocation (npm-opa-wasm issue 143).
 */
export class PolicyEngine {
  readonly #module: WebAssembly.Module;
  readonly #artifact: PolicyArtifact;
  readonly #context = { nowMs: 0 };
  #instance: Instance | null = null;

  private constructor(module: WebAssembly.Module, artifact: PolicyArtifact) {
    this.#module = module;
    this.#artifact = artifact;
  }

  /**
   * Compiles the module, checks that its built-ins, entrypoint and data are there, and starts the first instance.
   * @throws PolicyModuleError that says what is missing
   */
  static async load(artifact: PolicyArtifact): Promise<PolicyEngine> {
    const engine = new PolicyEngine(await compilePolicyModule(artifact.wasm), artifact);
    engine.#instance = engine.#start();
    return engine;
  }

  /**
   * Asks the policy.
   * @param input JSON text; it must come from JSON.stringify, since a module reads text that is no JSON as if nothing had been said
   * @param nowMs the request's own time in milliseconds since the Unix epoch, for `time.now_ns`
   * @returns the values of the entrypoint: none where it is undefined, else one
   * @throws Error when the evaluation fails: conflicting values, a built-in that cannot answer, too much memory or recursion
   */
  evaluate(input: string, nowMs: number): readonly unknown[] {
    return this.#ask(input, nowMs);
  }

  /** Asks another rule of the same module, a path below data. @returns as `evaluate`; null where the module does not have the rule */
  evaluateRule(rule: string, input: string, nowMs: number): readonly unknown[] | null {
    this.#instance ??= this.#start();
    const { entrypoints } = this.#instance;
    const number = Object.hasOwn(entrypoints, rule) ? entrypoints[rule] : undefined;
    return number === undefined ? null : this.#ask(input, nowMs, number);
  }

  #ask(input: string, nowMs: number, entrypoint?: number): readonly unknown[] {
    if (exceedsLimit(input)) throw new Error(`the policy input has more than ${INPUT_LIMIT_BYTES} bytes`);
    this.#instance ??= this.#start();
    this.#context.nowMs = nowMs;
    try {
      return this.#run(this.#instance, input, entrypoint ?? this.#instance.entrypoint);
    } catch (thrown) {
      // The stack pointer inside the module stays where the failure left it, so the instance cannot be used again.
      this.#instance = null;
      throw asError(thrown);
    }
  }

  /** Bytes of memory that the instance holds; 0 between two instances. For tests and measurements. */
  get memoryBytes(): number {
    return this.#instance?.memory.buffer.byteLength ?? 0;
  }

  #run(instance: Instance, input: string, entrypoint: number): readonly unknown[] {
    const { exports, data, heap } = instance;
    const length = instance.bytes.write(input, heap, INPUT_LIMIT_BYTES);
    const address = exports.opa_eval(0, entrypoint, data, heap, length, heap + length, 0);
    // A memory that grew has a new buffer; the old one is empty.
    if (instance.bytes.length === 0) instance.bytes = Buffer.from(instance.memory.buffer);
    const { bytes } = instance;
    const answer = JSON.parse(bytes.toString('utf8', address, bytes.indexOf(0, address))) as { result: unknown }[];
    if (bytes.length > instance.startBytes + KEPT_GROWTH_BYTES) this.#instance = null;
    return answer.map(({ result }) => result);
  }

  #start(): Instance {
    const data = new TextEncoder().encode(this.#artifact.data);
    const { instance, memory, minorVersion } = instantiatePolicyModule(this.#module, {
      context: this.#context,
      memory: memoryFor(data.length),
    });
    try {
      const policy = new OpaPolicy(instance, memory, minorVersion);
      policy.setData(data.buffer);
      const exports = instance.exports as unknown as PolicyExports;
      // Makes the module itself provide for the largest input; every evaluation begins by setting the heap back.
      exports.opa_malloc(INPUT_LIMIT_BYTES);
      return {
        exports,
        memory,
        entrypoint: numberOf(this.#artifact.entrypoint, policy.entrypoints),
        entrypoints: policy.entrypoints,
        data: policy.dataAddr,
        heap: policy.dataHeapPtr,
        startBytes: memory.buffer.byteLength,
        bytes: Buffer.from(memory.buffer),
      };
    } catch (thrown) {
      throw thrown instanceof PolicyModuleError ? thrown : new PolicyModuleError(asError(thrown).message);
    }
  }
}

/** Data that needs many small steps of growth would take seconds instead of a fraction: the memory is large from the start, and costs nothing until it is used. */
function memoryFor(dataBytes: number): { initial: number; maximum: number } {
  const initial = Math.ceil((BASE_BYTES + dataBytes * DATA_FACTOR) / PAGE_BYTES);
  const maximum = Math.ceil((BASE_BYTES + dataBytes * LARGEST_DATA_FACTOR + EVALUATION_LIMIT_BYTES) / PAGE_BYTES);
  if (initial > MAXIMUM_PAGES) throw new PolicyModuleError(`the data of the policy is too large: ${dataBytes} bytes`);
  return { initial, maximum: Math.min(maximum, MAXIMUM_PAGES) };
}

function numberOf(entrypoint: string, entrypoints: Readonly<Record<string, number>>): number {
  const number = Object.hasOwn(entrypoints, entrypoint) ? entrypoints[entrypoint] : undefined;
  if (number !== undefined) return number;
  const present = Object.keys(entrypoints).join(', ') || 'none';
  throw new PolicyModuleError(`the policy has no entrypoint ${entrypoint}; it has: ${present}`);
}

/** WASM policies and opa-wasm also throw texts and plain objects. */
function asError(thrown: unknown): Error {
  if (thrown instanceof Error) return thrown;
  const message = typeof thrown === 'object' && thrown !== null && 'message' in thrown ? thrown.message : thrown;
  return new Error(String(message));
}
