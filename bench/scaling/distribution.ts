import { backOffMs } from '../../src/bundle/download.ts';

/** How gateways ask for their bundle: the defaults of the configuration. */
const POLL = { minSeconds: 60, maxSeconds: 120 };
const ANSWER_MS = 50;

/** What happens to one fleet after a bundle was published. */
export interface Distribution {
  readonly nodes: number;
  /** Seconds until half, 99 of 100 and all of the gateways have it. */
  readonly seconds: readonly [number, number, number];
  /** Most requests that the bundle server gets in one second. */
  readonly peakPerSecond: number;
}

/**
 * Plays a fleet of gateways that poll a bundle server, event by event and without waiting: all are up to date, then a bundle is published.
 * @param outageSeconds for how long after that the server answers nothing but errors
 */
export function distribute(nodes: number, outageSeconds: number): Distribution {
  const outageMs = outageSeconds * 1000;
  const perSecond = new Map<number, number>();
  const reached = Array.from({ length: nodes }, () => {
    // Somewhere between two polls at the moment of publishing.
    let at = pollMs() * Math.random();
    for (let failures = 0; at < outageMs; failures++) {
      count(perSecond, at);
      at += ANSWER_MS + backOffMs(failures, POLL.maxSeconds * 1000);
    }
    count(perSecond, at);
    return at + ANSWER_MS;
  }).sort((a, b) => a - b);
  const secondsAt = (share: number) => (reached[Math.min(nodes - 1, Math.floor(nodes * share))] ?? Number.NaN) / 1000;
  return {
    nodes,
    seconds: [secondsAt(0.5), secondsAt(0.99), secondsAt(1)],
    peakPerSecond: Math.max(...perSecond.values()),
  };
}

function pollMs(): number {
  return (POLL.minSeconds + (POLL.maxSeconds - POLL.minSeconds) * Math.random()) * 1000;
}

function count(perSecond: Map<number, number>, ms: number): void {
  const second = Math.floor(ms / 1000);
  perSecond.set(second, (perSecond.get(second) ?? 0) + 1);
}
