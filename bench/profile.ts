import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Setting } from './contenders/contender.ts';
import { startGateway } from './contenders/gateway.ts';
import { measure } from './measure.ts';
import { Place } from './place.ts';
import { makeRequests } from './requests.ts';

const REQUESTS = 4000;
const SHOWN = 25;

interface CpuProfile {
  readonly nodes: readonly { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[];
  readonly samples: readonly number[];
}

/** Where the whole gateway spends its time, by the sampling profiler: the functions with the most time of their own, as lines of text. */
export async function profileGateway(
  parts: Omit<Setting, 'place'> & { redisCpus: string | undefined },
): Promise<string[]> {
  const profiles = new Place();
  const place = new Place();
  try {
    const { redisCpus, ...setting } = parts;
    const options = { processes: 1, redisCpus, profileFolder: profiles.folder } as const;
    const gateway = await startGateway({ ...setting, place }, options);
    for (let i = 0; i < 2; i++) {
      const requests = await makeRequests(setting.caller, 'get', REQUESTS);
      await measure(gateway, requests, { connections: 32, status: 200 });
    }
    await place.close();
    const file = readdirSync(profiles.folder).find((name) => name.endsWith('.cpuprofile'));
    return file === undefined ? [] : summarize(JSON.parse(readFileSync(join(profiles.folder, file), 'utf8')));
  } finally {
    await place.close();
    await profiles.close();
  }
}

function summarize({ nodes, samples }: CpuProfile): string[] {
  const names = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]));
  const counts = new Map<string, number>();
  let busy = 0;
  for (const id of samples) {
    const name = names.get(id) ?? '';
    if (name === '(idle)' || name === '(program)') continue;
    busy++;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts]
    .sort(([, a], [, b]) => b - a)
    .slice(0, SHOWN)
    .map(([name, count]) => `${((100 * count) / busy).toFixed(1).padStart(5)} %  ${name}`);
}

function nameOf({ functionName, url, lineNumber }: CpuProfile['nodes'][number]['callFrame']): string {
  const name = functionName === '' ? '(anonymous)' : functionName;
  if (url === '') return name;
  const file = url.startsWith('file:') ? url.replace(/^.*\/(src|node_modules)\//, '$1/') : url;
  return `${name}  ${file}:${lineNumber + 1}`;
}
