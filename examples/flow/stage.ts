import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type RunningApis, startApis } from '../first_job/apis.ts';
import { CiSystem } from '../first_job/ci_system.ts';
import { Eavesdropper } from './eavesdropper.ts';
import { Program, sallyport } from './program.ts';

/** Everything that takes part, but the job. */
export interface Stage {
  readonly folder: string;
  readonly ci: CiSystem;
  readonly apis: RunningApis;
  readonly authserver: Program;
  readonly gateway: Program;
  /** Between agents and gateway; its origin is the public one of the gateway. */
  readonly front: Eavesdropper;
  /** Between the gateway and each API. */
  readonly behind: Readonly<Record<keyof RunningApis['origins'], Eavesdropper>>;
  /** The broker comes when all others are there. */
  startBroker(): Promise<Program>;
}

/** What has been started, in order. */
export type Started = { readonly name: string; readonly close: () => Promise<unknown> }[];

const FILES = fileURLToPath(new URL('../first_job/', import.meta.url));
const CATALOGS = fileURLToPath(new URL('../../catalogs/', import.meta.url));

/**
 * Starts everything with the configuration files of docs/guides/first_job.md as they stand there, but for ports and paths: each program takes
 * a free port of loopback, and is known to the others by the one it got. `started` holds what has to be closed, also when this fails.
 */
export async function setStage(started: Started, stop: AbortSignal): Promise<Stage> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-flow-'));
  started.push({ name: 'folder', close: () => rm(folder, { recursive: true, force: true }) });
  await makeSecrets(join(folder, 'state'));
  const made = await sallyport(folder, ['policy', 'new', 'policy', '--cloud', 'aws']);
  if (made.code !== 0) throw new Error(`sallyport policy new: ${made.errors}`);
  const open = <Part extends { close(): Promise<unknown> }>(name: string, part: Part): Part => {
    started.push({ name, close: () => part.close() });
    return part;
  };
  const ci = open('CI system', await CiSystem.start(0));
  const apis = open('APIs', await startApis(join(folder, 'state'), { cloud: 0, dynamodb: 0, kubernetes: 0 }));
  const before = async (origin: string) => open('eavesdropper', await Eavesdropper.start(Number(new URL(origin).port)));
  const behind = {
    cloud: await before(apis.origins.cloud),
    dynamodb: await before(apis.origins.dynamodb),
    kubernetes: await before(apis.origins.kubernetes),
  };
  const front = open('eavesdropper', await Eavesdropper.start());
  const places = new Map([
    ['../../catalogs/', CATALOGS],
    ['http://127.0.0.1:9300', ci.origin],
    ['http://127.0.0.1:9000', behind.cloud.origin],
    ['http://127.0.0.1:9001', behind.dynamodb.origin],
    ['http://127.0.0.1:9002', behind.kubernetes.origin],
    ['http://127.0.0.1:8080', front.origin],
  ]);
  const start = (name: string, ...files: string[]) => startProgram({ name, files, folder, places, started, stop });
  const authserver = await start('authserver');
  places.set('http://127.0.0.1:9100', authserver.origin);
  const gateway = await start('gateway', 'jobs');
  front.port = gateway.port;
  places.set('http://127.0.0.1:9901', gateway.admin);
  const startBroker = async () => {
    const broker = await start('broker', 'workflows');
    places.set('http://127.0.0.1:9200', broker.origin);
    await copyWith(places, 'agent.yaml', folder);
    return broker;
  };
  return { folder, ci, apis, authserver, gateway, front, behind, startBroker };
}

interface Starting {
  readonly name: string;
  /** Further files of its configuration. */
  readonly files: readonly string[];
  readonly folder: string;
  readonly places: ReadonlyMap<string, string>;
  readonly started: Started;
  readonly stop: AbortSignal;
}

function startProgram({ name, files, folder, places, started, stop }: Starting): Promise<Program> {
  stop.throwIfAborted();
  return Promise.all([name, ...files].map((file) => copyWith(places, `${file}.yaml`, folder))).then(() =>
    Program.start(name, folder, (program) => started.push({ name, close: () => program.stop() })),
  );
}

/** As the guide does with openssl. */
async function makeSecrets(folder: string): Promise<void> {
  await mkdir(folder, { mode: 0o700 });
  for (const name of ['registration', 'gateway', 'engine'])
    await writeFile(join(folder, `${name}.token`), randomBytes(32).toString('hex'), { mode: 0o600 });
}

/** Copies a configuration file; every port in it becomes any free one, and every address that of who has it. */
async function copyWith(places: ReadonlyMap<string, string>, name: string, folder: string): Promise<void> {
  const text = await readFile(join(FILES, name), 'utf8');
  const free = text.replace(/\bport: \d+/g, 'port: 0');
  const copy = free.replace(/\.\.\/\.\.\/catalogs\/|http:\/\/127\.0\.0\.1:\d+/g, (place) => {
    const own = places.get(place);
    if (own === undefined) throw new Error(`${name} names ${place}, and nothing of this flow is there`);
    return own;
  });
  await writeFile(join(folder, name), copy);
}
