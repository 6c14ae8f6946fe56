import type { LoadTls } from '../load.ts';
import type { Place, Program } from '../place.ts';
import type { Caller } from '../requests.ts';

/** What every contender is given. */
export interface Setting {
  readonly place: Place;
  readonly caller: Caller;
  /** Port of the upstream, which answers 1 KB to everything. */
  readonly upstreamPort: number;
  /** Cores of contenders that run in one process; absent: any. */
  readonly cpus: string | undefined;
}

/** A program to be measured, which listens. */
export interface Contender {
  readonly name: string;
  readonly program: Program;
  /** The Redis that it uses, whose CPU is counted beside its own. */
  readonly redis: Program | null;
  /** Whether it checks tokens, proofs, and that a proof is used once. */
  readonly checks: { readonly token: boolean; readonly proof: boolean; readonly replay: boolean };
  /** Who calls it, where not everybody's caller. */
  readonly caller?: Caller;
  /** How callers connect; absent: without TLS. */
  readonly tls?: LoadTls;
}
