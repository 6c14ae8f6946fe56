import { type RegoEngine, sharedRegoEngine } from './engine_host.ts';

/** The versions that the engine is made of, such as `{opa: '1.22.2', go: 'go1.26.8'}`. */
export interface RegoEngineVersion {
  readonly opa: string;
  readonly go: string;
}

/** Asks the engine for its versions. */
export function regoEngineVersion(engine: RegoEngine = sharedRegoEngine()): Promise<RegoEngineVersion> {
  return engine.call('version', {});
}
