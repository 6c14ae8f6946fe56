import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeCertificate } from '../../test/support/certificate.ts';
import { freePort, type Place } from '../place.ts';
import type { IssuerKnowledge } from '../programs/issuer.ts';
import { type Caller, HOST, makeCaller } from '../requests.ts';
import type { Contender, Setting } from './contender.ts';
import { startGateway } from './gateway.ts';

const ISSUER_PROGRAM = fileURLToPath(new URL('../programs/issuer.ts', import.meta.url));
const CLIENT_ID = 'gateway';

/** The whole gateway with TLS of its own; tokens are bound to a key, or to the certificate of the caller (RFC 8705). */
export async function startTlsGateway(
  binding: 'dpop' | 'mtls',
  setting: Setting,
  redisCpus: string | undefined,
): Promise<Contender> {
  const authority = makeCertificate({ name: 'bench authority', authority: true });
  const server = makeCertificate({ name: HOST, hosts: [HOST], issuer: authority });
  const client = makeCertificate({ name: 'bench caller', issuer: authority });
  const port = Number(setting.caller.authority.slice(HOST.length + 1));
  const certificate = binding === 'mtls' ? { certificate: client.cert } : {};
  const caller = makeCaller(port, { scheme: 'https', ...certificate });
  const { folder } = setting.place;
  const name = `gateway-tls-${binding}`;
  const files = { certificate_file: join(folder, `${name}.crt`), key_file: join(folder, `${name}.key`) };
  writeFileSync(files.certificate_file, server.cert);
  writeFileSync(files.key_file, server.key, { mode: 0o600 });
  const contender = await startGateway(
    { ...setting, caller },
    {
      processes: 1,
      redisCpus,
      name,
      change: (config) => ({
        ...config,
        listen: { ...config.listen, tls: { ...files, client_certificates: 'optional' } },
        public_origin: `https://${caller.authority}`,
      }),
    },
  );
  const title = binding === 'mtls' ? 'certificate-bound token over TLS' : 'DPoP over TLS';
  const proof = binding === 'dpop';
  return {
    ...contender,
    name: `gateway, ${title}`,
    checks: { token: true, proof, replay: proof },
    caller,
    tls: { ca: authority.cert, client: binding === 'mtls' ? { cert: client.cert, key: client.key } : undefined },
  };
}

/** The whole gateway, with opaque tokens that it asks the issuer about (RFC 7662). */
export async function startIntrospectingGateway(setting: Setting, redisCpus: string | undefined): Promise<Contender> {
  const { place } = setting;
  const caller = makeCaller(Number(setting.caller.authority.slice(HOST.length + 1)), { opaque: true });
  const { introspection } = await startIssuer(place, { callers: [caller], delayMs: 0, cpus: redisCpus });
  const contender = await startGateway(
    { ...setting, caller },
    {
      processes: 1,
      redisCpus,
      name: 'gateway-introspection',
      change: (config) => ({ ...config, issuers: config.issuers.map((issuer) => ({ ...issuer, introspection })) }),
    },
  );
  return { ...contender, name: 'gateway, opaque token (introspection)', caller };
}

/** Whom the issuer knows, and how it answers. */
export interface IssuerSetting {
  /** Those with opaque tokens are told of; the key of the first signs the others'. */
  readonly callers: readonly Caller[];
  readonly delayMs: number;
  readonly cpus: string | undefined;
}

/** An issuer that is asked about tokens and publishes its keys. */
export interface IssuerEndpoints {
  readonly origin: string;
  /** As it stands in the configuration of the gateway. */
  readonly introspection: object;
}

/** Starts an issuer, and makes the key that the gateway authenticates with there. */
export async function startIssuer(place: Place, { callers, delayMs, cpus }: IssuerSetting): Promise<IssuerEndpoints> {
  const port = await freePort();
  const file = join(place.folder, 'issuer.json');
  const answerOf = ({ token, claims }: Caller) => [token, { active: true, token_type: 'DPoP', ...claims }];
  const knowledge: IssuerKnowledge = {
    tokens: Object.fromEntries(callers.map(answerOf)),
    delayMs,
    keys: callers.slice(0, 1).map(({ issuerJwk }) => issuerJwk),
  };
  writeFileSync(file, JSON.stringify(knowledge));
  const args = [ISSUER_PROGRAM, String(port), file];
  await place.start({ name: 'issuer', command: process.execPath, args, port, cpus });
  const key = join(place.folder, 'introspection_key.json');
  const jwk = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
  writeFileSync(key, JSON.stringify({ ...jwk, alg: 'ES256' }), { mode: 0o600 });
  const origin = `http://127.0.0.1:${port}`;
  return {
    origin,
    introspection: { endpoint: `${origin}/introspect`, client_id: CLIENT_ID, private_key_file: key },
  };
}
