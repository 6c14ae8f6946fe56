import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import fc from 'fast-check';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createLocalServer, EVERYBODY } from '../../src/agent/local_server.ts';
import { exchange, readAnswers } from '../support/raw_client.ts';
import { type AgentScene, DETAILS, SCOPES, setAgentScene, type TestAgent } from './scene.ts';

/**
 * Bytes that no honest tool sends, by every door of the agent: the local port of an API, inside a connection of forward mode, and in absolute
 * form. What the gateway saw, and what a thief saw who stands wherever a request could be led to.
 */

const CLOUD = 'https://cloud.example.com';
const IDLE_MS = 250;

let scene: AgentScene;
let agent: TestAgent;
let tunnelling: TestAgent;
let stolen: string;
let seen: { method: string; url: string; headers: IncomingMessage['headers']; body: string; whole: boolean }[];
const gateway = createServer((request, response) => {
  const entry = {
    method: String(request.method),
    url: String(request.url),
    headers: request.headers,
    body: '',
    whole: false,
  };
  if (entry.url.startsWith('/.well-known/')) return void response.writeHead(404).end();
  seen.push(entry);
  request
    .on('error', () => undefined)
    .setEncoding('latin1')
    .on('data', (chunk: string) => {
      entry.body += chunk;
    });
  request.on('end', () => {
    entry.whole = true;
    response.end('ok');
  });
});
const thief = createTcpServer((socket) => {
  socket
    .on('error', () => undefined)
    .on('data', (chunk: Buffer) => {
      stolen += chunk.toString('latin1');
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmine');
    });
});
const portOf = (server: { address(): unknown }) => (server.address() as AddressInfo).port;
const thiefHost = () => `127.0.0.1:${portOf(thief)}`;

beforeAll(async () => {
  scene = await setAgentScene();
  for (const server of [gateway, thief]) await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const origin = `http://127.0.0.1:${portOf(gateway)}`;
  const api = {
    resource: 'https://cloud.example.com/v1',
    scopes: SCOPES,
    authorization_details: DETAILS,
    gateway: origin,
  };
  const apis = [
    { name: 'cloud', url: `${CLOUD}/v1`, ...api },
    { name: 'plain', url: 'http://plain.example.com/v1', ...api, listen: 'none' },
  ];
  agent = await scene.start(origin, { config: { apis, proxy: {} } });
  tunnelling = await scene.start(origin, { config: { apis, proxy: { others: 'tunnel' } } });
});
beforeEach(() => {
  seen = [];
  stolen = '';
});
afterAll(async () => {
  await scene.close();
  gateway.closeAllConnections();
  gateway.close();
  thief.close();
});

const basic = (one: TestAgent) => {
  const { username, password } = new URL(String(one.exported['HTTPS_PROXY']));
  return `Proxy-Authorization: Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
};
const proxyPort = (one: TestAgent) => Number(new URL(String(one.exported['HTTPS_PROXY'])).port);
const localPort = () => Number(new URL(agent.url).port);

/** Sends bytes on a connection that is open already; collects what comes. */
function send(socket: Socket, bytes: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  return new Promise((resolve) => {
    const done = () => {
      socket.destroy();
      resolve(Buffer.concat(chunks));
    };
    let idle = setTimeout(done, IDLE_MS + 1000);
    socket
      .on('error', () => undefined)
      .once('close', () => {
        clearTimeout(idle);
        done();
      });
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      clearTimeout(idle);
      idle = setTimeout(done, IDLE_MS);
    });
    socket.write(Buffer.from(bytes, 'latin1'));
  });
}

/** Opens a connection through the proxy, with TLS by the CA of the job, or as it is. */
async function throughProxy(one: TestAgent, authority: string, tls = true): Promise<Socket> {
  const socket = connect(proxyPort(one), '127.0.0.1');
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${basic(one)}\r\n\r\n`);
  const answer = await new Promise<string>((resolve) => socket.once('data', (chunk: Buffer) => resolve(String(chunk))));
  if (!answer.startsWith('HTTP/1.1 200')) throw new Error(answer);
  if (!tls) return socket;
  const ca = readFileSync(String(one.exported['NODE_EXTRA_CA_CERTS']), 'utf8');
  const secure = connectTls({ socket, ca, servername: authority.replace(/:\d+$/, '') });
  await new Promise<void>((resolve, reject) => secure.once('secureConnect', resolve).once('error', reject));
  return secure;
}

/** One way in: what stands for the target of `/x`, the header lines that must be there, and how bytes get there. */
interface Door {
  target(path: string): string;
  lines(): string;
  send(bytes: string): Promise<Buffer>;
}
const DOORS: Readonly<Record<string, Door>> = {
  'the local port': {
    target: (path) => new URL(agent.url).pathname + path,
    lines: () => `Host: 127.0.0.1:${localPort()}`,
    send: (bytes) => send(connect(localPort(), '127.0.0.1'), bytes),
  },
  'a connection of forward mode': {
    target: (path) => `/v1${path}`,
    lines: () => 'Host: cloud.example.com',
    send: async (bytes) => send(await throughProxy(agent, 'cloud.example.com:443'), bytes),
  },
  'the absolute form': {
    target: (path) => `http://plain.example.com/v1${path}`,
    lines: () => `Host: plain.example.com\r\n${basic(agent)}`,
    send: (bytes) => send(connect(proxyPort(agent), '127.0.0.1'), bytes),
  },
};

/** What follows the body of a message that is read in the wrong way. */
const SECOND = 'GET TARGET/second HTTP/1.1\r\nLINES\r\n\r\n';
const post = (...lines: string[]) => `POST TARGET/x HTTP/1.1\r\nLINES\r\n${lines.join('\r\n')}\r\n\r\n`;
const REFUSED: Readonly<Record<string, string>> = {
  'Content-Length and Transfer-Encoding': `${post('Content-Length: 4', 'Transfer-Encoding: chunked')}0\r\n\r\n${SECOND}`,
  'Transfer-Encoding and Content-Length': `${post('Transfer-Encoding: chunked', 'Content-Length: 60')}0\r\n\r\n${SECOND}`,
  'two equal Content-Length': `${post('Content-Length: 1', 'Content-Length: 1')}x${SECOND}`,
  'two other Content-Length': `${post('Content-Length: 1', 'Content-Length: 90')}x${SECOND}`,
  'a list of Content-Length': `${post('Content-Length: 1, 1')}x${SECOND}`,
  'Content-Length +1': `${post('Content-Length: +1')}x${SECOND}`,
  'Content-Length 0x1': `${post('Content-Length: 0x1')}x${SECOND}`,
  'Content-Length 01': `${post('Content-Length: 01')}x${SECOND}`,
  'Content-Length 1 1': `${post('Content-Length: 1 1')}x${SECOND}`,
  'Content-Length of 20 digits': `${post('Content-Length: 18446744073709551617')}x${SECOND}`,
  'an empty Content-Length': `${post('Content-Length:')}${SECOND}`,
  'Transfer-Encoding twice': `${post('Transfer-Encoding: chunked', 'Transfer-Encoding: chunked')}0\r\n\r\n${SECOND}`,
  'chunked, identity': `${post('Transfer-Encoding: chunked, identity')}0\r\n\r\n${SECOND}`,
  'chunked, chunked': `${post('Transfer-Encoding: chunked, chunked')}0\r\n\r\n${SECOND}`,
  'gzip, chunked': `${post('Transfer-Encoding: gzip, chunked')}0\r\n\r\n${SECOND}`,
  identity: `${post('Transfer-Encoding: identity', 'Content-Length: 0')}${SECOND}`,
  xchunked: `${post('Transfer-Encoding: xchunked')}0\r\n\r\n${SECOND}`,
  'a vertical tab before chunked': `${post('Transfer-Encoding: \x0bchunked')}0\r\n\r\n${SECOND}`,
  'a space before the colon': `${post('Transfer-Encoding : chunked')}0\r\n\r\n${SECOND}`,
  'a line that is folded (obs-fold)': post('X-Folded: a\r\n b'),
  'Transfer-Encoding that is folded': `${post('Transfer-Encoding:\r\n chunked')}0\r\n\r\n${SECOND}`,
  'a first header line that is folded': ' POST TARGET/x HTTP/1.1\r\nLINES\r\n\r\n',
  'bare LF after the request line': 'GET TARGET/x HTTP/1.1\nLINES\r\n\r\n',
  'bare LF after a field': 'GET TARGET/x HTTP/1.1\r\nLINES\nX: 1\r\n\r\n',
  'bare LF at the end': 'GET TARGET/x HTTP/1.1\r\nLINES\r\n\n',
  'bare CR in a field': 'GET TARGET/x HTTP/1.1\r\nLINES\r\nX: a\rY: b\r\n\r\n',
  'NUL in a field': 'GET TARGET/x HTTP/1.1\r\nLINES\r\nX: a\x00b\r\n\r\n',
  'a field without colon': 'GET TARGET/x HTTP/1.1\r\nLINES\r\nX\r\n\r\n',
  'a field without name': 'GET TARGET/x HTTP/1.1\r\nLINES\r\n: x\r\n\r\n',
  'HTTP/0.9': 'GET TARGET/x\r\n\r\n',
  'HTTP/2.0': 'GET TARGET/x HTTP/2.0\r\nLINES\r\n\r\n',
  'the preface of HTTP/2': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  'a tab in the target': 'GET TARGET/x\ty HTTP/1.1\r\nLINES\r\n\r\n',
  'a byte past ASCII in the target': 'GET TARGET/\xe9 HTTP/1.1\r\nLINES\r\n\r\n',
  'a second Host': 'GET TARGET/x HTTP/1.1\r\nLINES\r\nHost: other.example\r\n\r\n',
  'a header section of 70 kB': `GET TARGET/x HTTP/1.1\r\nLINES\r\nX: ${'x'.repeat(70_000)}\r\n\r\n`,
  'a flood of header fields': `GET TARGET/x HTTP/1.1\r\nLINES\r\n${'a: b\r\n'.repeat(20_000)}\r\n`,
  'another user in the authority': 'GET http://u@plain.example.com/v1/x HTTP/1.1\r\nLINES\r\n\r\n',
};
/** Bodies that begin well and end wrong. */
const BROKEN_BODIES: Readonly<Record<string, string>> = {
  'a chunk size with a sign': '-5\r\nhello\r\n0\r\n\r\n',
  'a chunk size with 0x': '0x5\r\nhello\r\n0\r\n\r\n',
  'a chunk size that overflows': 'fffffffffffffffff\r\nhello',
  'a chunk longer than its size': '3\r\nhello\r\n0\r\n\r\n',
  'bare LF after a chunk size': '5\nhello\r\n0\r\n\r\n',
  'bare LF in a chunk extension': '5;a\nhello\r\n0\r\n\r\n',
};

describe.each(Object.entries(DOORS))('by %s', (_name, door) => {
  const fill = (bytes: string) =>
    bytes.replace(/TARGET(\/\w+)/g, (_all, path: string) => door.target(path)).replaceAll('LINES', door.lines());
  const play = async (bytes: string) => readAnswers(await door.send(fill(bytes)));

  it('what is well formed passes: pipelined, with a body, without', async () => {
    const message = `${post('Content-Length: 5')}hello${post('Transfer-Encoding: chunked', 'Connection: close')}5\r\nworld\r\n0\r\n\r\n`;
    expect((await play(`\r\n${SECOND}${message}`)).map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(seen.map(({ method, url, body }) => [method, url, body])).toEqual([
      ['GET', '/v1/second', ''],
      ['POST', '/v1/x', 'hello'],
      ['POST', '/v1/x', 'world'],
    ]);
    const proofs = seen.map(({ headers }) => decodeJwt(String(headers['dpop'])));
    expect(proofs.map(({ htm, htu }) => [htm, htu])).toEqual(
      seen.map(({ method, url }) => [method, `http://127.0.0.1:${portOf(gateway)}${url}`]),
    );
    expect(new Set(proofs.map(({ jti }) => jti)).size).toBe(3);
  });

  it.each(Object.entries(REFUSED))(
    '%s: refused, the connection ends, and the gateway sees no request',
    async (_case, bytes) => {
      const answers = await play(bytes);
      expect(answers.every(({ status }) => status >= 400 && status < 500)).toBe(true);
      expect([answers.length <= 1, seen]).toEqual([true, []]);
    },
  );

  it.each(Object.entries(BROKEN_BODIES))(
    '%s: the gateway never gets a whole body, nor a second request',
    async (_case, body) => {
      await play(`${post('Transfer-Encoding: chunked')}${body}${SECOND}`);
      expect(seen.filter(({ whole }) => whole)).toEqual([]);
      expect(seen.length).toBeLessThan(2);
    },
  );

  it('RFC 9112 §9.3.2: requests behind each other are sent on one after the other, and answered in order, however many', async () => {
    const messages = Array.from(
      { length: 30 },
      (_, n) => post('Content-Length: 2').replace('/x', `/x${n}`) + String(n + 10),
    );
    const answers = await play(messages.join(''));
    expect(answers.map(({ status }) => status)).toEqual(messages.map(() => 200));
    expect(seen.map(({ body }) => body)).toEqual(messages.map((_, n) => String(n + 10)));
  });

  it('bytes that are no HTTP behind a request: its answer first, then 400', async () => {
    const answers = await play(`${SECOND}\x01\x02\r\n\r\n`);
    expect([answers.map(({ status }) => status), seen.length]).toEqual([[200, 400], 1]);
  });

  it('RFC 9112 §9.6: nothing is done for what follows an answer that closes the connection', async () => {
    const answers = await play(`${post('Transfer-Encoding: gzip')}${SECOND}`);
    expect([answers.map(({ status }) => status), seen]).toEqual([[400], []]);
    const closing = await play(`${post('Content-Length: 1', 'Connection: close')}x${SECOND}`);
    expect([closing.map(({ status }) => status), seen.length]).toEqual([[200], 1]);
  });

  it('a header section that is too large is 431', async () => {
    const [answer] = await play(String(REFUSED['a header section of 70 kB']));
    expect(answer?.status).toBe(431);
  });

  it('a body that ends early is not whole for the gateway', async () => {
    const half = fill(`${post('Content-Length: 100000')}half`);
    const sent = door.send(half);
    await sent;
    expect(seen.filter(({ whole }) => whole)).toEqual([]);
  });
});

describe('where tokens go', () => {
  const proxied = (one: TestAgent, line: string, ...lines: string[]) =>
    exchange(proxyPort(one), [`${line} HTTP/1.1`, ...lines, basic(one), '', ''].join('\r\n'), { idleMs: IDLE_MS });
  const authorities = [
    'cloud.example.com:80',
    'cloud.example.com:8443',
    'cloud.example.com.:443',
    'www.cloud.example.com:443',
    'cloud.example.com.evil.example:443',
    'xn--clud-8qa.example.com:443',
    '[::1]:443',
    '[::ffff:127.0.0.1]:443',
    '0x7f000001:443',
    '2130706433:443',
    '127.1:443',
    'localhost:22',
  ];

  it.each(authorities)('CONNECT %s is not an API of the job: refused', async (authority) => {
    const [answer] = await proxied(agent, `CONNECT ${authority}`, `Host: ${authority}`);
    expect([answer?.status, JSON.parse(answer?.body ?? '{}').reason]).toEqual([403, 'agent.not_an_api']);
    expect(seen).toEqual([]);
  });

  it.each([
    'cloud.example.com:443@evil.example:443',
    'user:pw@cloud.example.com:443',
    'https://cloud.example.com:443',
    'cloud.example.com',
    '[::1%25lo]:443',
    '::1:443',
    'cl%6fud.example.com:443',
    'cloud.example.com:443/v1',
  ])('CONNECT %s is malformed', async (authority) => {
    for (const one of [agent, tunnelling]) {
      const [answer] = await proxied(one, `CONNECT ${authority}`, 'Host: cloud.example.com:443');
      expect(answer?.status).toBe(400);
    }
    expect([seen, stolen]).toEqual([[], '']);
  });

  it('CONNECT CLOUD.Example.com:0443 is the API, whatever Host says', async () => {
    const [answer] = await proxied(agent, 'CONNECT CLOUD.Example.com:0443', `Host: ${thiefHost()}`);
    expect(answer?.status).toBe(200);
  });

  it('a tunnel to another origin carries what the tool sends, and nothing of the job', async () => {
    const socket = await throughProxy(tunnelling, thiefHost(), false);
    await send(socket, 'GET /v1/x HTTP/1.1\r\nHost: cloud.example.com\r\n\r\n');
    expect(stolen).toBe('GET /v1/x HTTP/1.1\r\nHost: cloud.example.com\r\n\r\n');
    expect(seen).toEqual([]);
  });

  it.each([
    ['Host', (host: string) => [`Host: ${host}`]],
    [
      'X-Forwarded-Host',
      (host: string) => [`Host: cloud.example.com`, `X-Forwarded-Host: ${host}`, `Forwarded: host=${host}`],
    ],
    [
      'X-Original-URL',
      (host: string) => [
        'Host: cloud.example.com',
        `X-Original-URL: http://${host}/v1/x`,
        `X-Rewrite-URL: http://${host}/`,
      ],
    ],
    ['Upgrade', (host: string) => [`Host: ${host}`, 'Connection: Upgrade', 'Upgrade: websocket']],
  ])('inside a connection to the API, %s leads nowhere else', async (_name, lines) => {
    for (const target of [
      '/v1/x',
      `http://${thiefHost()}/v1/x`,
      `//${thiefHost()}/v1/x`,
      `/v1/../..//${thiefHost()}/`,
    ]) {
      const socket = await throughProxy(agent, 'cloud.example.com:443');
      await send(socket, `GET ${target} HTTP/1.1\r\n${lines(thiefHost()).join('\r\n')}\r\n\r\n`);
    }
    expect(stolen).toBe('');
  });

  it('inside a connection to the API: a request for another host of the job, another scheme, or CONNECT, is refused', async () => {
    const inside = async (bytes: string) =>
      readAnswers(await send(await throughProxy(agent, 'cloud.example.com:443'), bytes));
    const statuses = [];
    for (const bytes of [
      'GET /v1/x HTTP/1.1\r\nHost: plain.example.com\r\n\r\n',
      'GET /v1/x HTTP/1.1\r\nHost: cloud.example.com:80\r\n\r\n',
      'GET /v1/x HTTP/1.1\r\nHost: cloud.example.com.\r\n\r\n',
      'GET /v1/x HTTP/1.1\r\nHost: u@cloud.example.com\r\n\r\n',
      'GET /v1/x HTTP/1.1\r\n\r\n',
      'GET https://cloud.example.com/v1/x HTTP/1.1\r\nHost: cloud.example.com\r\n\r\n',
      'CONNECT cloud.example.com:443 HTTP/1.1\r\nHost: cloud.example.com:443\r\n\r\n',
      'GET /v2/x HTTP/1.1\r\nHost: cloud.example.com\r\n\r\n',
    ])
      statuses.push((await inside(bytes))[0]?.status);
    expect([statuses, seen]).toEqual([[421, 421, 421, 421, 400, 400, 400, 403], []]);
  });

  it('plain HTTP inside a connection that should be TLS gets nothing', async () => {
    const socket = await throughProxy(agent, 'cloud.example.com:443', false);
    const bytes = await send(socket, 'GET /v1/x HTTP/1.1\r\nHost: cloud.example.com\r\n\r\n');
    expect([readAnswers(bytes).length, seen]).toEqual([0, []]);
  });

  it('absolute form: the authority of the target counts, and not Host', async () => {
    const to = async (one: TestAgent, host: string, header: string) =>
      (await proxied(one, `GET http://${host}/v1/x`, `Host: ${header}`))[0]?.status;
    expect(await to(agent, 'plain.example.com', thiefHost())).toBe(200);
    expect(seen.map(({ headers }) => headers.host)).toEqual(['plain.example.com']);
    expect([await to(agent, thiefHost(), 'plain.example.com'), stolen]).toEqual([403, '']);
    expect(await to(tunnelling, thiefHost(), 'plain.example.com')).toBe(200);
    expect(stolen).toContain(`Host: ${thiefHost()}\r\n`);
    expect(stolen).not.toMatch(/eyJ|dpop|proxy-authorization/i);
    expect(seen).toHaveLength(1);
  });

  it('the proxy takes its secret from Proxy-Authorization alone, exactly as it was given', async () => {
    const { password } = new URL(String(agent.exported['HTTPS_PROXY']));
    const as = (text: string) => `Proxy-Authorization: ${text}`;
    const base64 = (text: string) => Buffer.from(text).toString('base64');
    const fields = [
      'X: none',
      as(`Basic ${base64(`agent:${password.toUpperCase()}`)}`),
      as(`Basic ${base64(`${password}:`)}`),
      as(`Basic ${password}`),
      as(password),
      as(''),
      as('Basic'),
      as(`Digest ${password}`),
      `Authorization: Basic ${base64(`agent:${password}`)}`,
      `Sallyport-Agent-Secret: ${password}`,
      `Proxy_Authorization: Basic ${base64(`agent:${password}`)}`,
      `Cookie: ${password}`,
    ];
    for (const line of [
      `CONNECT cloud.example.com:443`,
      'GET http://plain.example.com/v1/x',
      `GET /${password}/x`,
      `GET http://agent:${password}@plain.example.com/v1/x`,
    ]) {
      for (const text of fields) {
        const [answer] = await exchange(
          proxyPort(agent),
          `${line} HTTP/1.1\r\nHost: plain.example.com\r\n${text}\r\nConnection: close\r\n\r\n`,
        );
        expect([line, text, answer?.status]).toEqual([line, text, 407]);
      }
    }
    expect(seen).toEqual([]);
  });
});

describe('bytes that nobody thought of', { timeout: 60_000 }, () => {
  it.each(Object.entries(DOORS))(
    'by %s: the gateway sees what was signed for it, the thief nothing, and the agent serves on',
    async (_name, door) => {
      const good = `POST ${door.target('/x')} HTTP/1.1\r\n${door.lines()}\r\nContent-Length: 5\r\nX-Kept: 1\r\n\r\nhello`;
      const pieces = [
        '\r\n',
        '\n',
        '\r',
        ' ',
        '\t',
        ':',
        '\x00',
        '\x7f',
        '\xff',
        '%0d%0a',
        'Host: x',
        `http://${thiefHost()}`,
        'Transfer-Encoding: chunked',
        'Content-Length: 0',
        '\r\n\r\nGET / HTTP/1.1\r\n',
      ];
      const change = fc.record({
        at: fc.nat(good.length),
        cut: fc.constantFrom(0, 0, 1, 2, 30),
        put: fc.oneof(fc.constantFrom(...pieces), fc.string({ maxLength: 4, unit: 'binary' })),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
          seen = [];
          const text = changes.reduce(
            (message, { at, cut, put }) => message.slice(0, at) + put + message.slice(at + cut),
            good,
          );
          // The end of our side ends the exchange: no time is waited for.
          const ended = text.replace('X-Kept: 1', 'Connection: close');
          await door.send(ended);
          for (const { method, url, headers } of seen) {
            const { htm, htu, ath } = decodeJwt(String(headers['dpop']));
            expect([htm, htu, typeof ath]).toEqual([
              method,
              `http://127.0.0.1:${portOf(gateway)}${url.split(/[?#]/)[0]}`,
              'string',
            ]);
            expect(url).toMatch(/^\/v1(?=[/?]|$)/);
          }
          expect(stolen).toBe('');
        }),
        { numRuns: 25 },
      );
      expect(readAnswers(await door.send(good.replace('X-Kept: 1', 'Connection: close')))[0]?.status).toBe(200);
    },
  );
});

describe('slowness', () => {
  it('a header section that does not come in time ends with 408, byte by byte or not at all', async () => {
    const served: string[] = [];
    const handlers = { request: () => void served.push('request'), upgrade: () => void served.push('upgrade') };
    const server = createLocalServer(handlers, EVERYBODY, { headers_timeout_ms: 300 });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const slow = async (drip: boolean) => {
      const socket = connect(portOf(server), '127.0.0.1');
      const more = setInterval(() => drip && socket.writable && socket.write('x'), 50);
      socket.write('GET / HTTP/1.1\r\nHost: x\r\nX: ');
      const text = await new Promise<string>((resolve) => {
        let all = '';
        socket
          .on('error', () => undefined)
          .on('data', (chunk: Buffer) => {
            all += String(chunk);
          });
        socket.once('close', () => resolve(all));
      });
      clearInterval(more);
      return text.split('\r\n')[0];
    };
    expect(await Promise.all([slow(true), slow(false)])).toEqual([
      'HTTP/1.1 408 Request Timeout',
      'HTTP/1.1 408 Request Timeout',
    ]);
    expect(served).toEqual([]);
    server.close();
  });

  it('the doors of an agent have such a bound', () => {
    const server = createLocalServer({ request: () => undefined, upgrade: () => undefined }, EVERYBODY);
    expect(server.headersTimeout).toBe(60_000);
    expect(server.headersTimeout).toBeLessThan(server.requestTimeout);
  });
});
