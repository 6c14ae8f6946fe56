import type { Contender, Setting } from '../contenders/contender.ts';
import type { Caller } from '../requests.ts';

/** A gateway of one size, ready to be measured. */
export interface Sized {
  readonly size: number;
  readonly contender: Contender;
  readonly callers: readonly Caller[];
  /** Where its load goes; absent: to the gateway itself. */
  readonly ended?: () => void;
}

/** Something that grows: what is counted, the sizes, and how a gateway of each size comes to be. */
export interface Dimension {
  /** Names the plot's file. */
  readonly name: string;
  readonly title: string;
  readonly unit: string;
  readonly sizes: readonly number[];
  /** What the design demands of the largest size against the smallest; null: it is only shown. */
  readonly atMost: number | null;
  start(size: number, setting: Setting, redisCpus: string | undefined): Promise<Sized>;
}
