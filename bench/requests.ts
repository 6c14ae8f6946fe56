import { generateKeyPairSync, hash, type KeyObject, randomUUID, sign, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

/** Where callers believe to be, whatever port a contender listens on. */
export const HOST = 'cloud.example.com';
/** What the starter policy and the demo catalogue allow the token. */
export const PATH = '/v1/projects/p1';
const POST_PATH = `${PATH}/builds`;
/** What the token does not cover. */
const UNCOVERED_PATH = `${PATH}9`;
export const RESOURCE = 'https://cloud.example.com/v1';
export const ISSUER = 'https://as.example.com';
const TOKEN_LIFE_SECONDS = 3600;

/** Kinds of requests: good ones, and ones that must be refused. */
export type Kind =
  | 'get'
  | 'post'
  | 'no_credentials'
  | 'malformed'
  | 'other_path'
  | 'bad_signature'
  | 'other_key'
  | 'no_proof'
  | 'uncovered';

/** Kinds that nobody may let through. */
export const BAD_KINDS: readonly Kind[] = ['other_path', 'bad_signature', 'other_key', 'no_proof', 'malformed'];

interface KeyPair {
  readonly privateKey: KeyObject;
  readonly jwk: { kty: string; crv: string; x: string; y: string };
}

/** An issuer, a job with its key, and a token bound to that key. */
export interface Caller {
  /** The issuer's public key, with `kid`. */
  readonly issuerJwk: Record<string, string>;
  /** Host and port as signed in htu. The port is Apache's, which cannot be told that callers see another. */
  readonly authority: string;
  readonly scheme: 'http' | 'https';
  /** Whether the token is bound to the caller's certificate, so that there are no proofs (RFC 8705 §3). */
  readonly certificateBound: boolean;
  readonly token: string;
  /** What the token says, which the issuer is asked about where it is opaque. */
  readonly claims: Readonly<Record<string, unknown>>;
  readonly jobKey: KeyPair;
  /** A key that the token is not bound to. */
  readonly otherKey: KeyPair;
}

/** What tokens of a run say beside what all of them say. */
export interface TokenOptions {
  /** Who signs; absent: a key of its own. */
  readonly issuer?: KeyPair;
  /** Items of `authorization_details` that do not cover the call, before the one that does. */
  readonly otherDetails?: number;
  readonly scheme?: 'http' | 'https';
  /** PEM certificate that the token is bound to; absent: it is bound to the job's key. */
  readonly certificate?: string;
  /** Whether the token is text that only the issuer understands. */
  readonly opaque?: boolean;
}

/** Makes the caller of a run. `port`: what is signed in htu. */
export function makeCaller(port: number, options: TokenOptions = {}): Caller {
  const { issuer = makeKey(), otherDetails = 0, scheme = 'http', certificate, opaque = false } = options;
  const jobKey = makeKey();
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    iss: ISSUER,
    aud: RESOURCE,
    sub: 'wf-4711',
    client_id: 'wf-4711',
    jti: randomUUID(),
    iat: now - 5,
    exp: now + TOKEN_LIFE_SECONDS,
    scope: 'projects:read builds:read builds:write',
    authorization_details: [
      ...Array.from({ length: otherDetails }, (_, index) => ({
        type: 'cloud_api',
        actions: ['projects.get'],
        identifier: `projects/other-${index}`,
      })),
      { type: 'cloud_api', actions: ['projects.get', 'builds.list', 'builds.create'], identifier: 'projects/p1' },
    ],
    cnf: certificate === undefined ? { jkt: thumbprintOf(jobKey) } : { 'x5t#S256': certificateThumbprint(certificate) },
  };
  const token = opaque
    ? randomUUID()
    : signed({ typ: 'at+jwt', alg: 'ES256', kid: 'bench' }, claims, issuer.privateKey);
  return {
    issuerJwk: { ...issuer.jwk, kid: 'bench', alg: 'ES256', use: 'sig' },
    authority: `${HOST}:${port}`,
    scheme,
    certificateBound: certificate !== undefined,
    claims,
    token,
    jobKey,
    otherKey: makeKey(),
  };
}

/** Makes callers of one issuer, each with a key and a token of its own. */
export function makeCallers(port: number, count: number, options: TokenOptions = {}): Caller[] {
  const issuer = options.issuer ?? makeKey();
  return Array.from({ length: count }, () => makeCaller(port, { ...options, issuer }));
}

/**
 * Makes requests with fresh proofs, a jti of its own in each, in as many threads as there are cores.
 * @param callers who sends them: one, or several that take turns
 */
export async function makeRequests(callers: Caller | readonly Caller[], kind: Kind, count: number): Promise<Buffer[]> {
  const all = Array.isArray(callers) ? (callers as readonly Caller[]) : [callers as Caller];
  const threads = count < 500 ? 1 : availableParallelism();
  const parts = Array.from({ length: threads }, async (_, index) => {
    const share = Math.floor(count / threads) + (index < count % threads ? 1 : 0);
    const own = threads === 1 ? all : shareOf(all, index, threads);
    if (threads === 1) return makeShare(own, kind, share);
    const worker = new Worker(new URL(import.meta.url), { workerData: { callers: own, kind, count: share } });
    const [made] = (await once(worker, 'message')) as [Uint8Array[]];
    await worker.terminate();
    return made.map((bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  });
  return (await Promise.all(parts)).flat();
}

/** The callers of one thread; all of them where there are fewer than threads. */
function shareOf(callers: readonly Caller[], index: number, threads: number): readonly Caller[] {
  return callers.length < threads ? callers : callers.filter((_, place) => place % threads === index);
}

function makeShare(callers: readonly Caller[], kind: Kind, count: number): Buffer[] {
  return Array.from({ length: count }, (_, index) => makeRequest(callers[index % callers.length] as Caller, kind));
}

function makeRequest(caller: Caller, kind: Kind): Buffer {
  const method = kind === 'post' ? 'POST' : 'GET';
  const path = pathOf(kind);
  const lines = [
    `${method} ${path} HTTP/1.1`,
    `Host: ${caller.authority}`,
    'Accept: application/json',
    'User-Agent: bench',
  ];
  if (kind !== 'no_credentials')
    lines.push(`Authorization: ${caller.certificateBound ? 'Bearer' : 'DPoP'} ${caller.token}`);
  if (kind === 'malformed') lines.push('DPoP: not.a.proof');
  else if (kind !== 'no_credentials' && kind !== 'no_proof' && !caller.certificateBound)
    lines.push(`DPoP: ${makeProof(caller, kind)}`);
  let body = '';
  if (kind === 'post') {
    body = JSON.stringify({ image: 'x'.repeat(4084) });
    lines.push('Content-Type: application/json', `Content-Length: ${body.length}`);
  }
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`, 'latin1');
}

function pathOf(kind: Kind): string {
  if (kind === 'uncovered') return UNCOVERED_PATH;
  return kind === 'post' ? POST_PATH : PATH;
}

function makeProof({ token, scheme, authority, jobKey, otherKey }: Caller, kind: Kind): string {
  const key = kind === 'other_key' ? otherKey : jobKey;
  let path = pathOf(kind);
  if (kind === 'other_path') path += '0';
  const claims = {
    jti: randomUUID(),
    htm: kind === 'post' ? 'POST' : 'GET',
    htu: `${scheme}://${authority}${path}`,
    iat: Math.floor(Date.now() / 1000),
    ath: hash('sha256', token, 'base64url'),
  };
  const proof = signed({ typ: 'dpop+jwt', alg: 'ES256', jwk: key.jwk }, claims, key.privateKey);
  if (kind !== 'bad_signature') return proof;
  const place = proof.length - 20;
  return proof.slice(0, place) + (proof[place] === 'A' ? 'B' : 'A') + proof.slice(place + 1);
}

function makeKey(): KeyPair {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { privateKey, jwk: publicKey.export({ format: 'jwk' }) as KeyPair['jwk'] };
}

/** RFC 7638 §3.2 */
function thumbprintOf({ jwk: { crv, kty, x, y } }: KeyPair): string {
  return hash('sha256', JSON.stringify({ crv, kty, x, y }), 'base64url');
}

/** RFC 8705 §3.1 */
function certificateThumbprint(pem: string): string {
  return hash('sha256', new X509Certificate(pem).raw, 'base64url');
}

function signed(header: object, claims: object, key: KeyObject): string {
  const input = `${encoded(header)}.${encoded(claims)}`;
  const signature = sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' });
  return `${input}.${signature.toString('base64url')}`;
}

function encoded(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url');
}

if (!isMainThread && workerData?.callers !== undefined) {
  const { callers, kind, count } = workerData as { callers: readonly Caller[]; kind: Kind; count: number };
  parentPort?.postMessage(makeShare(callers, kind, count));
}
