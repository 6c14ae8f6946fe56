import { once } from 'node:events';
import type { Setting } from './contenders/contender.ts';
import { startGateway } from './contenders/gateway.ts';
import { measure } from './measure.ts';
import { freePort, Place } from './place.ts';
import { makeRequests } from './requests.ts';

/** Requests before the profiler starts: V8 has compiled what is hot by then. */
const WARM_UP = 25_000;
const PROFILED = 25_000;
const SHOWN = 40;
const SAMPLING_INTERVAL_US = 200;

interface CpuProfile {
  readonly nodes: readonly { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[];
  readonly samples: readonly number[];
}

/** Where the whole gateway spends its time once it is warm, by the sampling profiler: the functions with the most time of their own, as lines of text. */
export async function profileGateway(
  parts: Omit<Setting, 'place'> & { redisCpus: string | undefined },
): Promise<string[]> {
  const place = new Place();
  try {
    const { redisCpus, ...setting } = parts;
    const inspectorPort = await freePort();
    const gateway = await startGateway(
      { ...setting, place },
      { processes: 1, redisCpus, nodeFlags: [`--inspect=127.0.0.1:${inspectorPort}`] },
    );
    const load = async (count: number) =>
      measure(gateway, await makeRequests(setting.caller, 'get', count), { connections: 32, status: 200 });
    await load(WARM_UP);
    const inspector = await Inspector.open(inspectorPort);
    await inspector.ask('Profiler.enable');
    await inspector.ask('Profiler.setSamplingInterval', { interval: SAMPLING_INTERVAL_US });
    await inspector.ask('Profiler.start');
    await load(PROFILED);
    const { profile } = (await inspector.ask('Profiler.stop')) as { profile: CpuProfile };
    inspector.close();
    return summarize(profile);
  } finally {
    await place.close();
  }
}

/** The inspector of a Node.js process, as far as it is needed: questions and their answers. */
class Inspector {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (result: unknown) => void>();
  #asked = 0;

  static async open(port: number): Promise<Inspector> {
    const targets = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as {
      webSocketDebuggerUrl: string;
    }[];
    const socket = new WebSocket(targets[0]?.webSocketDebuggerUrl ?? '');
    await once(socket, 'open');
    return new Inspector(socket);
  }

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener('message', ({ data }) => {
      const { id, result } = JSON.parse(String(data)) as { id?: number; result?: unknown };
      if (id !== undefined) this.#waiting.get(id)?.(result);
    });
  }

  ask(method: string, params: object = {}): Promise<unknown> {
    const id = ++this.#asked;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
  }

  close(): void {
    this.#socket.close();
  }
}

function summarize({ nodes, samples }: CpuProfile): string[] {
  const names = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]));
  const counts = new Map<string, number>();
  let busy = 0;
  for (const id of samples) {
    const name = names.get(id) ?? '';
    if (name === '(idle)') continue;
    busy++;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts]
    .sort(([, a], [, b]) => b - a)
    .slice(0, SHOWN)
    .map(([name, count]) => `${((100 * count) / busy).toFixed(1).padStart(5)} %  ${name}`);
}

function nameOf({ functionName, url, lineNumber }: CpuProfile['nodes'][number]['callFrame']): string {
  const plain = functionName === '' ? '(anonymous)' : functionName;
  const name = plain.length > 60 ? `${plain.slice(0, 60)}…` : plain;
  if (url === '') return name;
  const file = url.startsWith('file:') ? url.replace(/^.*\/(src|node_modules)\//, '$1/') : url;
  return `${name}  ${file}:${lineNumber + 1}`;
}
