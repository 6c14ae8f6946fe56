import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const SRC = resolve(import.meta.dirname, '../src');
const STAGE = ['kernel', 'files', 'memory', 'oauth', 'telemetry'];
const PARTY = ['kernel', 'files', 'config', 'telemetry', 'oauth', 'net', 'redis'];

/** Who may import whom; a folder's own files always. `config` of a stage is types only. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  kernel: [],
  files: [],
  memory: [],
  config: ['kernel'],
  telemetry: ['kernel'],
  oauth: ['kernel', 'files'],
  net: ['kernel', 'files'],
  redis: ['kernel'],
  ended_jobs: ['kernel', 'net', 'redis'],
  request: STAGE,
  token: STAGE,
  proof: [...STAGE, 'redis'],
  policy: STAGE,
  forward: STAGE,
  audit: STAGE,
  control_plane: ['kernel', 'config', 'telemetry', 'oauth', 'net'],
  bundle: ['kernel', 'telemetry', 'policy', 'rego', 'control_plane'],
  rate: [...STAGE, 'redis'],
  gateway: [
    'kernel',
    'files',
    'memory',
    'config',
    'telemetry',
    'oauth',
    'net',
    'request',
    'token',
    'proof',
    'policy',
    'forward',
    'audit',
    'rate',
    'admin',
    'rego',
    'ended_jobs',
    'control_plane',
    'bundle',
  ],
  admin: ['kernel', 'telemetry', 'net'],
  authserver: [...PARTY, 'admin'],
  issuance: ['kernel', 'telemetry', 'policy', 'rego'],
  broker: [...PARTY, 'ended_jobs', 'admin'],
  agent: PARTY,
  rego: ['kernel'],
  insight: ['kernel', 'request', 'policy', 'rego', 'audit', 'config'],
  demo: [...PARTY, 'gateway', 'authserver'],
  diagnosis: ['kernel', 'oauth', 'net'],
  cli: [
    'kernel',
    'config',
    'telemetry',
    'oauth',
    'net',
    'gateway',
    'admin',
    'authserver',
    'issuance',
    'broker',
    'agent',
    'rego',
    'insight',
    'demo',
    'diagnosis',
    'policy',
  ],
};

/** Folders whose types anybody among the stages may see, never their code. */
const TYPES_ONLY: Readonly<Record<string, readonly string[]>> = {
  request: ['config'],
  token: ['config'],
  proof: ['config'],
  policy: ['config'],
  forward: ['config'],
  audit: ['config'],
  bundle: ['config'],
  rate: ['config'],
  admin: ['config'],
  redis: ['config'],
  ended_jobs: ['config'],
};

/** Packages that only one place may import. */
const IMPORTERS: Readonly<Record<string, RegExp>> = {
  undici: /^forward\//,
  'http-proxy': /^forward\//,
  'rate-limiter-flexible': /^rate\//,
  '@open-policy-agent/opa-wasm': /^policy\/engine\.ts$/,
  ioredis: /_redis\.ts$/,
  'oidc-provider': /^authserver\//,
  'oidc-provider/lib/helpers/grants.js': /^authserver\/sender\.ts$/,
  'node:sqlite': /^(authserver\/store_sqlite|files\/folder_lock)\.ts$/,
  ajv: /^authserver\/detail_types\.ts$/,
  zod: /^(config\/|policy\/input)/,
  pino: /^telemetry\//,
  'prom-client': /^telemetry\//,
  commander: /^cli\//,
  '@peculiar/x509': /^agent\/ephemeral_ca\.ts$/,
  '@peculiar/asn1-x509': /^agent\/ephemeral_ca\.ts$/,
  '@peculiar/asn1-schema': /^agent\/ephemeral_ca\.ts$/,
  'reflect-metadata': /^agent\/ephemeral_ca\.ts$/,
};

/** Functions that mark a value as checked, and the only place that may call them. */
const SEALS: Readonly<Record<string, RegExp>> = {
  sealToken: /^token\//,
  sealProof: /^proof\//,
  sealDecision: /^policy\//,
  sealAuthorized: /^kernel\/check\.ts$/,
};

interface Import {
  readonly from: string;
  readonly specifier: string;
  readonly typeOnly: boolean;
}

function sources(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? sources(path) : path.endsWith('.ts') ? [path] : [];
  });
}

const files = sources(SRC).map((path) => ({ path, name: relative(SRC, path), text: readFileSync(path, 'utf8') }));

const imports: Import[] = files.flatMap(({ name, text }) =>
  [
    ...text.matchAll(
      /(?:^|\n)\s*(?:import|export)\s+(type\s+)?(?:[^'";]*?\sfrom\s+)?'([^']+)'|\bimport\(\s*'([^']+)'/g,
    ),
  ].map((match) => ({ from: name, specifier: match[2] ?? match[3] ?? '', typeOnly: match[1] !== undefined })),
);

function folderOf(name: string): string {
  return name.includes('/') ? name.slice(0, name.indexOf('/')) : '';
}

describe('who may import whom (architecture)', () => {
  it('finds the sources and their imports', () => {
    expect(files.length).toBeGreaterThan(20);
    expect(imports.length).toBeGreaterThan(files.length);
  });

  it('folders import only what stands before them', () => {
    const wrong = imports.filter(({ from, specifier, typeOnly }) => {
      const own = folderOf(from);
      if (!specifier.startsWith('.') || own === '') return false;
      const other = folderOf(relative(SRC, resolve(SRC, dirname(from), specifier)));
      if (other === own || ALLOWED[own]?.includes(other)) return false;
      return !(typeOnly && TYPES_ONLY[own]?.includes(other));
    });
    expect(wrong).toEqual([]);
  });

  it('every folder has a row', () => {
    const folders = new Set(files.map(({ name }) => folderOf(name)).filter((folder) => folder !== ''));
    expect([...folders].filter((folder) => ALLOWED[folder] === undefined)).toEqual([]);
  });

  it('kernel/ imports nothing, not even node:', () => {
    expect(imports.filter(({ from, specifier }) => from.startsWith('kernel/') && !specifier.startsWith('./'))).toEqual(
      [],
    );
  });

  it('each risky package has one importer', () => {
    const wrong = imports.filter(({ from, specifier }) => {
      const importer = IMPORTERS[specifier];
      return importer !== undefined && !importer.test(from);
    });
    expect(wrong).toEqual([]);
  });

  it('only its own stage marks a token, a proof, a decision or a request as checked', () => {
    const wrong = files.flatMap(({ name, text }) =>
      Object.entries(SEALS)
        .filter(([seal, home]) => name !== 'kernel/context.ts' && !home.test(name) && text.includes(seal))
        .map(([seal]) => `${name} uses ${seal}`),
    );
    expect(wrong).toEqual([]);
  });

  it('nobody casts to a checked type', () => {
    const cast = /\bas\s+(unknown\s+as\s+)?(VerifiedToken|VerifiedProof|Decision|AuthorizedRequest)\b/;
    expect(
      files.filter(({ name, text }) => name !== 'kernel/context.ts' && cast.test(text)).map(({ name }) => name),
    ).toEqual([]);
  });

  it('time comes from the injected clock: Date.now stands only where a program starts', () => {
    const places = /^(cli|demo|agent|broker|authserver|rego|diagnosis)\/|^gateway\/gateway\.ts$|^main\.ts$/;
    expect(
      files
        .filter(({ name, text }) => !places.test(name) && /Date\.now\(|new Date\(\)/.test(text))
        .map(({ name }) => name),
    ).toEqual([]);
  });
});
