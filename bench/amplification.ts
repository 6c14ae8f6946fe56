/**
 * What requests cost that nobody has to be anybody to send, beside an allowed one: CPU of the gateway's process for each, in one run on one
 * machine, rounds interleaved. Exits 1 when one costs more than the bound that SECURITY.md states.
 * `npm run bench:amplification [-- --rounds N]`
 */
import { generateKeyPairSync, randomBytes, randomUUID, sign } from 'node:crypto';
import { parseArgs } from 'node:util';
import type { Contender } from './contenders/contender.ts';
import { startGateway } from './contenders/gateway.ts';
import { startUpstream } from './contenders/nginx.ts';
import { measure } from './measure.ts';
import { freePort, Place } from './place.ts';
import { type Caller, ISSUER, makeCaller, makeRequests, PATH, RESOURCE } from './requests.ts';

/** No request without a good token costs more than this many allowed ones. */
const BOUND = 2;
/** Of what is measured here, two runs differ by as much. */
const NOISE = 0.15;
const REQUESTS = 1500;
const CONNECTIONS = 8;

interface Attack {
  readonly name: string;
  readonly status: number;
  make(caller: Caller): string;
}

const segment = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const head =
  (lines: readonly string[], { target = PATH, method = 'GET' } = {}) =>
  (caller: Caller) =>
    `${method} ${target} HTTP/1.1\r\nHost: ${caller.authority}\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`;
const withToken = (token: string, proof = 'x') => head([`Authorization: DPoP ${token}`, `DPoP: ${proof}`]);

const CLAIMS = () => ({
  iss: ISSUER,
  aud: RESOURCE,
  sub: 'x',
  client_id: 'x',
  jti: randomUUID(),
  iat: Math.floor(Date.now() / 1000),
  exp: Math.floor(Date.now() / 1000) + 300,
  cnf: { jkt: 'x'.repeat(43) },
});
const forged = (claims: object, kid = 'bench') =>
  `${segment({ typ: 'at+jwt', alg: 'ES256', kid })}.${segment(claims)}.${randomBytes(64).toString('base64url')}`;
const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const strangerJwk = stranger.publicKey.export({ format: 'jwk' });

/** A good proof by a key that nobody knows, for the explanation of a decision that does not exist. */
function explanation(caller: Caller): string {
  const target = `/.well-known/sallyport/decisions/${randomUUID()}`;
  const claims = {
    jti: randomUUID(),
    htm: 'GET',
    htu: `http://${caller.authority}${target}`,
    iat: Math.floor(Date.now() / 1000),
  };
  const input = `${segment({ typ: 'dpop+jwt', alg: 'ES256', jwk: strangerJwk })}.${segment(claims)}`;
  const signature = sign('sha256', Buffer.from(input), { key: stranger.privateKey, dsaEncoding: 'ieee-p1363' });
  return head([`DPoP: ${input}.${signature.toString('base64url')}`], { target })(caller);
}

const ATTACKS: readonly Attack[] = [
  { name: 'no credentials', status: 401, make: head([]) },
  { name: 'a token that is no JWT', status: 401, make: withToken('x') },
  {
    name: 'a token of 12 kB of base64url',
    status: 401,
    make: (caller) => withToken(`e30.${'A'.repeat(12_000)}.AA`)(caller),
  },
  {
    name: 'a token of 12 kB, nested JSON',
    status: 401,
    make: withToken(forged({ x: JSON.parse(`${'['.repeat(30)}${']'.repeat(30)}`), y: 'a'.repeat(8000) })),
  },
  {
    name: 'a token of an unknown issuer',
    status: 401,
    make: (caller) => withToken(forged({ ...CLAIMS(), iss: 'https://evil.example' }))(caller),
  },
  {
    name: 'a token with an unknown kid',
    status: 401,
    make: (caller) => withToken(forged(CLAIMS(), randomUUID()))(caller),
  },
  { name: 'a token with a forged signature', status: 401, make: (caller) => withToken(forged(CLAIMS()))(caller) },
  { name: 'an explanation, asked for with a key of one’s own', status: 404, make: explanation },
  {
    name: '95 header fields',
    status: 401,
    make: head(Array.from({ length: 95 }, (_, index) => `X-A${index}: ${'b'.repeat(100)}`)),
  },
  { name: 'a path of 8 kB of escapes', status: 401, make: head([], { target: `${PATH}/${'%41'.repeat(2600)}` }) },
  {
    name: 'a query of 8 kB, 1,000 parameters',
    status: 401,
    make: head([], { target: `${PATH}?${'a%20=b&'.repeat(1100)}` }),
  },
  {
    name: 'a forged signature and such a query, with words that look like secrets',
    status: 401,
    make: (caller) =>
      head([`Authorization: DPoP ${forged(CLAIMS())}`, 'DPoP: x'], { target: `${PATH}?${'token=abcd&'.repeat(740)}` })(
        caller,
      ),
  },
  {
    name: 'a forged signature and a path of 8 kB of escapes',
    status: 401,
    make: (caller) =>
      head([`Authorization: DPoP ${forged(CLAIMS())}`, 'DPoP: x'], { target: `${PATH}/${'%41'.repeat(2600)}` })(caller),
  },
  { name: 'metadata', status: 200, make: head([], { target: '/.well-known/oauth-protected-resource/projects' }) },
  { name: 'no route', status: 404, make: head([], { target: '/x' }) },
];

async function run(rounds: number): Promise<boolean> {
  const place = new Place();
  try {
    const caller = makeCaller(await freePort());
    const upstream = await startUpstream(place, undefined);
    const setting = { place, caller, upstreamPort: upstream.port, cpus: undefined };
    const contender = await startGateway(setting, { processes: 1, redisCpus: undefined });
    await measureAllowed(contender, caller); // Warm.
    const costs = new Map<string, number[]>();
    for (let round = 0; round < rounds; round++) {
      push(costs, 'allowed', await measureAllowed(contender, caller));
      for (const attack of ATTACKS) push(costs, attack.name, await measureAttack(contender, caller, attack));
    }
    return report(costs);
  } finally {
    await place.close();
  }
}

async function measureAllowed(contender: Contender, caller: Caller): Promise<number> {
  const requests = await makeRequests(caller, 'get', REQUESTS);
  return (await measure(contender, requests, { connections: CONNECTIONS, status: 200 })).cpuUs;
}

async function measureAttack(contender: Contender, caller: Caller, { make, status }: Attack): Promise<number> {
  const requests = Array.from({ length: REQUESTS }, () => Buffer.from(make(caller), 'latin1'));
  return (await measure(contender, requests, { connections: CONNECTIONS, status })).cpuUs;
}

function push(costs: Map<string, number[]>, name: string, cost: number): void {
  costs.set(name, [...(costs.get(name) ?? []), cost]);
}

function report(costs: ReadonlyMap<string, readonly number[]>): boolean {
  const allowed = median(costs.get('allowed') ?? []);
  let within = true;
  console.log('| request | µs CPU | of an allowed one |\n|---|---|---|');
  for (const [name, samples] of costs) {
    const ratio = median(samples) / allowed;
    if (name !== 'allowed' && ratio > BOUND + NOISE) within = false;
    console.log(`| ${name} | ${median(samples).toFixed(0)} | ${ratio.toFixed(2)} |`);
  }
  console.log(within ? `within the bound of ${BOUND}` : `PAST the bound of ${BOUND}`);
  return within;
}

function median(samples: readonly number[]): number {
  return [...samples].sort((left, right) => left - right)[Math.floor(samples.length / 2)] ?? 0;
}

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '3' } } });
process.exitCode = (await run(Number(values.rounds))) ? 0 : 1;
