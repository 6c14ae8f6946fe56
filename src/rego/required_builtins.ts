/** The exports of a WASM policy that are used here; OPA's documentation calls them the ABI, version 1. */
interface PolicyExports {
  readonly builtins: () => number;
  readonly opa_json_dump: (address: number) => number;
}

/**
 * Names the built-in functions that a WASM policy asks its host for, sorted, by asking the module itself.
 * Nothing of the policy is evaluated. Throws where the bytes are no WASM policy.
 */
export async function requiredBuiltins(wasm: Uint8Array<ArrayBuffer>): Promise<readonly string[]> {
  const memory = new WebAssembly.Memory({ initial: 5 });
  const never = (): never => {
    throw new Error('a WASM policy called its host while its built-ins were listed');
  };
  const host = { opa_abort: never, opa_println: never, opa_builtin0: never, opa_builtin1: never };
  const env = { memory, ...host, opa_builtin2: never, opa_builtin3: never, opa_builtin4: never };
  const { instance } = await WebAssembly.instantiate(wasm, { env });
  const { builtins, opa_json_dump } = instance.exports as unknown as PolicyExports;
  const start = opa_json_dump(builtins());
  const bytes = new Uint8Array(memory.buffer);
  const text = new TextDecoder().decode(bytes.subarray(start, bytes.indexOf(0, start)));
  return Object.keys(JSON.parse(text) as object).sort();
}
