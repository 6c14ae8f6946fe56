/**
 * What many gateways ask of the things that they share: measures claims with a real Redis on this machine, computes from them what larger
 * rates need, and plays how a new policy bundle reaches a fleet. Writes docs/benchmarks_scaling.md: `npm run bench:scaling`. Loopback only.
 */
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describeMachine } from './machine.ts';
import { Place } from './place.ts';
import { type ClaimCosts, measureClaims, UNDER_LOAD } from './scaling/claims.ts';
import { distribute } from './scaling/distribution.ts';

const RATES = [1000, 10_000, 100_000, 1_000_000];
const FLEETS = [10, 100, 1000, 10_000];
const OUTAGES_SECONDS = [0, 300];
/** A master that is busy for more of its time makes claims wait. */
const BUSY_SHARE = 0.6;

const place = new Place();
try {
  const text = page(await measureClaims(place));
  writeFileSync(join(resolve(import.meta.dirname, '..'), 'docs/benchmarks_scaling.md'), text);
  console.log(text);
} finally {
  await place.close();
}

function page(costs: ClaimCosts): string {
  const { redisUs, bytesPerKey, keptSeconds } = costs;
  const measured = [...redisUs].map(([inFlight, us]) => `| ${inFlight} | ${us.toFixed(1)} |`);
  const underLoad = redisUs.get(UNDER_LOAD) ?? Number.NaN;
  const needs = RATES.map((rate) => {
    const keys = rate * keptSeconds;
    const masters = Math.max(1, Math.ceil((rate * underLoad) / 1_000_000 / BUSY_SHARE));
    return `| ${number(rate)} | ${number(keys)} | ${((keys * bytesPerKey) / 1e9).toFixed(2)} | ${masters} |`;
  });
  const fleets = OUTAGES_SECONDS.flatMap((outage) =>
    FLEETS.map((nodes) => {
      const { seconds, peakPerSecond } = distribute(nodes, outage);
      const times = seconds.map((value) => value.toFixed(0)).join(' | ');
      return `| ${number(nodes)} | ${outage} | ${times} | ${peakPerSecond} | ${(nodes / 90).toFixed(1)} |`;
    }),
  );
  return `# What many gateways ask of what they share

Written by \`npm run bench:scaling\`; [the guide](guides/scaling.md) says what follows.

${describeMachine().join('\n')}

## Claims on used proofs

Measured with a real Redis: ${bytesPerKey.toFixed(0)} bytes for each key, kept for ${keptSeconds.toFixed(0)} s with the default window.

| claims in flight | µs CPU of Redis for each |
|---|---|
${measured.join('\n')}

Computed from it: one master is one core, busy for ${BUSY_SHARE * 100} % of its time, with ${UNDER_LOAD} claims in flight on each gateway.

| claims per second | live keys | GB in Redis | masters |
|---|---|---|---|
${needs.join('\n')}

## A new policy bundle

Played event by event: gateways poll every 60 to 120 s, each at its own time; a bundle is published, and the server may be away just then.
Seconds until half, 99 % and all of the gateways have it. With long polling it is the time of one answer.

| gateways | server away for s | half | 99 % | all | most requests in one second | requests per second at rest |
|---|---|---|---|---|---|---|
${fleets.join('\n')}
`;
}

function number(value: number): string {
  return Math.round(value).toLocaleString('en');
}
