import * as opaWasm from '@open-policy-agent/opa-wasm';
import type { BuiltinContext } from '../../src/policy/builtins.ts';
import { compilePolicyModule, instantiatePolicyModule } from '../../src/policy/policy_module.ts';

interface LoadedPolicy {
  evaluate(input: unknown, entrypoint?: string): { readonly result: unknown }[];
  setData(data: object): void;
}

type LoadedPolicyClass = new (
  instance: WebAssembly.Instance,
  memory: WebAssembly.Memory,
  minorVersion: number,
) => LoadedPolicy;

const { LoadedPolicy } = (opaWasm as unknown as { default: { LoadedPolicy: LoadedPolicyClass } }).default;

/** Evaluates one entrypoint on one input; undefined where the rule is. */
export type EvaluateRule = (entrypoint: string, input: unknown) => unknown;

/** A compiled policy with the gateway's built-in functions, evaluated by opa-wasm; any number of entrypoints. */
export async function loadWasmPolicy(
  wasm: Uint8Array<ArrayBuffer>,
  context: BuiltinContext,
  data: object = {},
): Promise<EvaluateRule> {
  const module = await compilePolicyModule(wasm);
  const start = (): LoadedPolicy => {
    const { instance, memory, minorVersion } = instantiatePolicyModule(module, { context });
    const loaded = new LoadedPolicy(instance, memory, minorVersion);
    loaded.setData(data);
    return loaded;
  };
  let policy = start();
  return (entrypoint, input) => {
    try {
      return policy.evaluate(input, entrypoint)[0]?.result;
    } catch (error) {
      // An evaluation that was broken off leaves the module's stack as it was.
      policy = start();
      throw error;
    }
  };
}
