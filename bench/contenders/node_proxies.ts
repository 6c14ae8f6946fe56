import { fileURLToPath } from 'node:url';
import { freePort } from '../place.ts';
import type { Contender, Setting } from './contender.ts';

const NOTHING = { token: false, proof: false, replay: false };

/** Bare reverse proxies on Node.js, without any check. */
export async function startNodeProxy(library: 'undici' | 'http-proxy', setting: Setting): Promise<Contender> {
  const { place, upstreamPort, cpus } = setting;
  const port = await freePort();
  const file = fileURLToPath(
    new URL(`../programs/${library.replace('-', '_')}${library === 'undici' ? '_proxy' : ''}.ts`, import.meta.url),
  );
  const args = [file, String(port), String(upstreamPort)];
  const program = await place.start({ name: library, command: process.execPath, args, port, cpus });
  return { name: `${library}, bare proxy`, program, redis: null, checks: NOTHING };
}
