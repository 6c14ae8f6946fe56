import { freePort, type Place, type Program } from '../place.ts';

/** A redis-server of the contender's own, empty and without persistence. */
export async function startRedisFor(name: string, place: Place, cpus: string | undefined): Promise<Program> {
  const port = await freePort();
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', place.folder];
  args.push('--save', '', '--appendonly', 'no', '--maxmemory-policy', 'noeviction');
  return place.start({ name: `redis for ${name}`, command: 'redis-server', args, port, cpus });
}
