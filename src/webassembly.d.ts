/**
 * The part of the WebAssembly JavaScript API that is used here. TypeScript has it in its `dom` library only, which
 * would also bring every browser global.
 */
declare namespace WebAssembly {
  type ImportValue = Memory | ((...args: never[]) => unknown);
  type Imports = Record<string, Record<string, ImportValue>>;
  type Exports = Record<string, unknown>;

  class Memory {
    constructor(descriptor: { readonly initial: number; readonly maximum?: number });
    readonly buffer: ArrayBuffer;
    grow(pages: number): number;
  }

  class Module {
    constructor(bytes: ArrayBuffer | ArrayBufferView<ArrayBuffer>);
    static exports(module: Module): { readonly name: string; readonly kind: string }[];
    static imports(module: Module): { readonly module: string; readonly name: string; readonly kind: string }[];
  }

  class Instance {
    constructor(module: Module, imports?: Imports);
    readonly exports: Exports;
  }

  class RuntimeError extends Error {}

  function compile(bytes: ArrayBuffer | ArrayBufferView<ArrayBuffer>): Promise<Module>;
  function instantiate(
    bytes: ArrayBuffer | ArrayBufferView<ArrayBuffer>,
    imports?: Imports,
  ): Promise<{ readonly module: Module; readonly instance: Instance }>;
}
