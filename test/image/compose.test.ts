import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse, parseDocument } from 'yaml';
import { parseGatewayConfig } from '../../src/config/load.ts';
import { parseAuthServerConfig } from '../../src/config/load_authserver.ts';

/** Rules for the composition. That it works is tested in test/flow/image.test.ts. */

const ROOT = resolve(import.meta.dirname, '../..');
const text = readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8');

interface Service {
  readonly image: string;
  readonly build?: string;
  readonly command: string[];
  readonly read_only?: boolean;
  readonly user?: string;
  readonly privileged?: boolean;
  readonly cap_add?: string[];
  readonly cap_drop?: string[];
  readonly security_opt?: string[];
  readonly network_mode?: string;
  readonly ports?: string[];
  readonly volumes?: string[];
  readonly tmpfs?: string[];
  readonly environment?: unknown;
  readonly env_file?: unknown;
  readonly depends_on?: Record<string, { readonly condition: string }>;
  readonly healthcheck?: {
    readonly test?: string[];
    readonly interval?: string;
    readonly timeout?: string;
    readonly disable?: boolean;
  };
}
interface Composition {
  readonly services: Record<string, Service>;
  readonly volumes?: Record<string, unknown>;
  readonly version?: unknown;
}
const composition = parse(text, { merge: true }) as Composition;
const services = Object.entries(composition.services);

describe('docker-compose.yml', () => {
  it('is YAML without errors, warnings and repeated keys, and without the version that means nothing any more', () => {
    const document = parseDocument(text, { merge: true, uniqueKeys: true });
    expect([document.errors, document.warnings]).toEqual([[], []]);
    expect(composition.version).toBeUndefined();
    expect(services.map(([name]) => name).sort()).toEqual(['authserver', 'cloud', 'gateway', 'redis']);
  });

  it.each(services)('%s: built here, or an image with a whole version', (_, { image, build }) => {
    if (build === undefined) expect(image).toMatch(/^[a-z]+:\d+\.\d+\.\d+-[a-z]+(@sha256:[0-9a-f]{64})?$/);
    else expect(image).toBe('sallyport');
  });

  it.each(services)('%s: no privileges, and a file system that is not written', (_, service) => {
    expect(service).toMatchObject({
      read_only: true,
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
    });
    expect([service.privileged, service.cap_add]).toEqual([undefined, undefined]);
    expect(service.network_mode).not.toBe('host');
    // The project's own image sets its user; others get one here.
    if (service.build === undefined) expect(service.user).toMatch(/^[1-9]\d*:[1-9]\d*$/);
  });

  it.each(services)('%s: no secrets in the environment, no socket of the engine', (_, service) => {
    expect([service.environment, service.env_file]).toEqual([undefined, undefined]);
    expect(JSON.stringify(service)).not.toMatch(/docker\.sock|password|secret/i);
  });

  it('ports are open on this machine only', () => {
    const ports = services.flatMap(([, service]) => service.ports ?? []);
    expect(ports).toHaveLength(2);
    for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:(\d+):\1$/);
  });

  it('Redis keeps used proofs: bounded, never evicting, nothing on disk', () => {
    const { command = [], tmpfs } = composition.services['redis'] ?? ({} as Service);
    const option = (name: string) => command[command.indexOf(name) + 1];
    expect(option('--maxmemory-policy')).toBe('noeviction');
    expect(option('--maxmemory')).toMatch(/^\d+mb$/);
    expect(option('--save')).toBe('');
    expect(option('--appendonly')).toBe('no');
    expect(option('--bind')).toBe('127.0.0.1');
    expect(tmpfs).toEqual(['/data']);
  });

  it.each(services)('%s: a health check with bounds, or a reason not to have one', (name, { healthcheck, build }) => {
    // The gateway has that of the image; the demo cloud says nothing of itself.
    if (healthcheck === undefined) expect([name, build]).toEqual(['gateway', '.']);
    else if (healthcheck.disable) expect(name).toBe('cloud');
    else {
      expect(healthcheck.test?.[0]).toBe('CMD');
      for (const bound of [healthcheck.interval, healthcheck.timeout]) expect(bound).toMatch(/^\d+s$/);
    }
  });

  it('starts in order: nobody before those it depends on are healthy', () => {
    for (const [name, service] of services) {
      for (const [other, { condition }] of Object.entries(service.depends_on ?? {})) {
        expect([name, other, condition]).toEqual([name, other, 'service_healthy']);
        expect(composition.services[other]?.healthcheck?.test).toBeDefined();
      }
    }
    expect(Object.keys(composition.services['gateway']?.depends_on ?? {}).sort()).toEqual(['authserver', 'redis']);
  });

  it('mounts what there is, read-only but for volumes of its own', () => {
    for (const mount of services.flatMap(([, { volumes }]) => volumes ?? [])) {
      const [source = '', , mode] = mount.split(':');
      if (!source.startsWith('./')) {
        expect(Object.keys(composition.volumes ?? {})).toContain(source);
        continue;
      }
      expect([mount, mode]).toEqual([mount, 'ro']);
      // Keys are made by npm run compose:keys and are never part of the project.
      if (!source.includes('/state/')) expect([source, existsSync(join(ROOT, source))]).toEqual([source, true]);
    }
  });

  it('its configurations are valid and fit each other', () => {
    const folder = join(ROOT, 'examples/compose');
    const read = (name: string) => parse(readFileSync(join(folder, name), 'utf8')) as Record<string, unknown>;
    const gateway = parseGatewayConfig(read('gateway.yaml'), folder);
    const withKeys = read('authserver.yaml');
    const authserver = parseAuthServerConfig(withKeys, folder);
    expect(gateway.issuers.map(({ issuer }) => issuer)).toEqual([authserver.issuer]);
    expect(authserver.clients[0]?.resources).toEqual([gateway.routes[0]?.resource]);
    expect(gateway.replay.store).toBe('redis');
    expect(gateway.processes).toBeGreaterThan(1);
    expect(new URL(gateway.public_origin ?? '').port).toBe(String(gateway.listen.port));
  });
});
