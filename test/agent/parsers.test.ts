import type { IncomingMessage } from 'node:http';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Access } from '../../src/agent/access.ts';
import { type Api, apiFor, localUrl } from '../../src/agent/api.ts';
import { framingOf } from '../../src/agent/body.ts';
import { answerFields, relayedFields, requestFields, upgradeFields } from '../../src/agent/fields.ts';
import { absoluteIn, authorityIn } from '../../src/agent/proxy_target.ts';
import { parseAgentConfig } from '../../src/config/load_agent.ts';
import { ConfigError } from '../../src/config/problems.ts';
import { foldFieldName, HOP_BY_HOP } from '../../src/kernel/fields.ts';

/** What must hold for every text that a tool can send, of everything in the agent that reads one. */

const RUNS = { numRuns: 500 };
/** Letters of a word in any case. */
const anyCase = (word: string) =>
  fc
    .array(fc.boolean(), { minLength: word.length, maxLength: word.length })
    .map((upper) => [...word].map((letter, at) => (upper[at] ? letter.toUpperCase() : letter)).join(''));
const fieldValue = fc.stringMatching(/^[\x21-\x7e]([\x20-\x7e]{0,20}[\x21-\x7e])?$/);
const digits = fc.oneof(fc.nat().map(String), fc.stringMatching(/^[0-9+\-x, .e]{0,18}$/), fieldValue);
const coding = fc.oneof(
  fc.constantFrom(
    'chunked',
    'Chunked',
    'gzip, chunked',
    'chunked, chunked',
    'identity',
    '',
    'chunked;q=1',
    '\tchunked',
    'xchunked',
  ),
  fieldValue,
);
const field = fc.oneof(
  fc.tuple(anyCase('content-length'), digits),
  fc.tuple(anyCase('transfer-encoding'), coding),
  fc.tuple(fc.constantFrom('X-Kept', 'Content_Length', 'Transfer-Encoding-X', 'Accept'), fieldValue),
);
const rawHeaders = fc.array(field, { maxLength: 5 }).map((pairs) => pairs.flat());
const named = (raw: readonly string[], name: string) =>
  raw.flatMap((text, at) => (at % 2 === 0 && text.toLowerCase() === name ? [raw[at + 1] as string] : []));

describe('framing (RFC 9112 §6)', () => {
  it('§6.3: is one length in canonical digits, or chunked alone, or nothing; everything else is refused', () => {
    fc.assert(
      fc.property(rawHeaders, (raw) => {
        const lengths = named(raw, 'content-length');
        const codings = named(raw, 'transfer-encoding');
        const framing = framingOf(raw);
        if (lengths.length === 0 && codings.length === 0) expect(framing).toEqual({ kind: 'none' });
        else if (codings.length === 1 && lengths.length === 0 && codings[0]?.toLowerCase() === 'chunked')
          expect(framing).toEqual({ kind: 'chunked' });
        else if (
          lengths.length === 1 &&
          codings.length === 0 &&
          String(Number(lengths[0])) === lengths[0] &&
          Number.isSafeInteger(Number(lengths[0])) &&
          Number(lengths[0]) >= 0 &&
          Number(lengths[0]) < 1e15
        )
          expect(framing).toEqual({ kind: 'length', length: Number(lengths[0]) });
        else expect(framing).toBeNull();
      }),
      RUNS,
    );
  });

  it.each(['+1', '-1', '01', '1e3', '0x10', '1,1', '1 ', '', '9007199254740993', '1_000', '１'])(
    'RFC 9110 §8.6: Content-Length "%s" is none',
    (length) => expect(framingOf(['Content-Length', length])).toBeNull(),
  );
});

const host = fc.oneof(
  fc.domain(),
  fc.ipV4(),
  fc.ipV6().map((text) => `[${text}]`),
  fc.stringMatching(/^[A-Za-z0-9_.-]{1,20}$/),
);
const hostile = fc.oneof(
  fc.string({ maxLength: 40, unit: 'binary' }),
  fc
    .tuple(host, fc.constantFrom(':', '', '@', ':443@', '/', '%00', '.', '\\', '#', '?'), fc.string({ maxLength: 10 }))
    .map((parts) => parts.join('')),
);

describe('the target of a CONNECT (RFC 9110 §9.3.6)', () => {
  it('host and port are read as they stand, and the origin has that port', () => {
    fc.assert(
      fc.property(host, fc.integer({ min: 1, max: 65_535 }), (name, port) => {
        const authority = authorityIn(`${name}:${port}`);
        expect(authority).toMatchObject({ host: name.replace(/^\[|\]$/g, ''), port });
        for (const origin of authority?.origins ?? []) {
          const url = new URL(origin);
          const usual = url.protocol === 'https:' ? '443' : '80';
          expect(url.port === '' ? usual : url.port).toBe(String(port));
          expect([url.pathname, url.username, url.password, url.search, url.hash]).toEqual(['/', '', '', '', '']);
        }
      }),
      RUNS,
    );
  });

  it('any other text is none: what is read can be written again, letter by letter', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        const authority = authorityIn(text);
        if (authority === null) return;
        const { host: name, port } = authority;
        expect(text.replace(/:0+(?=\d)/, ':')).toBe(name.includes(':') ? `[${name}]:${port}` : `${name}:${port}`);
        expect(name).toMatch(/^[A-Za-z0-9_.:-]+$/);
      }),
      RUNS,
    );
  });

  it.each([
    '',
    ':443',
    'a',
    'a:',
    'a:0',
    'a:65536',
    'a:443 ',
    ' a:443',
    'a:443/',
    'a:443?x',
    'a:443#x',
    'u@a:443',
    'u:p@a:443',
    'https://a:443',
    'a\\b:443',
    'a:443\n',
    'a%2eb:443',
    'ａ:443',
    'exämple.com:443',
    '[::1%25eth0]:443',
    '[a:443',
    '::1:443',
    'a:+443',
    'a:443:443',
    `${'a'.repeat(254)}:443`,
  ])('"%s" is none', (text) => expect(authorityIn(text)).toBeNull());

  it.each([
    ['CLOUD.Example.COM:443', true],
    ['cloud.example.com:0443', true],
    ['cloud.example.com.:443', false],
    ['cloud.example.com:8443', false],
    ['cloud.example.com:80', false],
    ['xcloud.example.com:443', false],
    ['cloud.example.com.evil.example:443', false],
    ['cloud_example.com:443', false],
  ])('%s is the API: %j', (text, is) => {
    expect(authorityIn(text)?.origins.includes('https://cloud.example.com')).toBe(is);
  });
});

describe('a target in absolute form (RFC 9112 §3.2.2)', () => {
  it('origin and target together are the text, but for the letters of the host and the usual port', () => {
    const rest = fc.stringMatching(/^([/?][!-"$-~]{0,30})?$/);
    fc.assert(
      fc.property(host, fc.option(fc.integer({ min: 1, max: 65_535 })), rest, (name, port, path) => {
        const base = `http://${name}${port === null ? '' : `:${port}`}`;
        const read = absoluteIn(base + path);
        const origin = URL.parse(base)?.origin;
        if (origin === undefined) expect(read).toBeNull();
        else expect(read).toEqual({ origin, target: path.startsWith('/') ? path : `/${path}` });
      }),
      RUNS,
    );
  });

  it('no user, no fragment, no other scheme, no space, whatever stands around it', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          hostile,
          hostile.map((text) => `http://${text}`),
        ),
        (text) => {
          const read = absoluteIn(text);
          if (read === null) return;
          expect(text).toMatch(/^http:\/\//i);
          expect(text).not.toMatch(/[#\s]/);
          expect(text.slice(7).split(/[/?]/, 1)[0]).not.toContain('@');
          expect(read.target.startsWith('/')).toBe(true);
          expect(new URL(read.origin).origin).toBe(read.origin);
        },
      ),
      RUNS,
    );
  });

  it.each([
    'http://cloud.example.com@evil.example/',
    'http://evil.example:80@cloud.example.com/',
    'http://evil.example\\@cloud.example.com/',
    'http://',
    'http:///x',
    'https://cloud.example.com/',
    'HTTP:cloud.example.com',
    '//cloud.example.com/',
    'http://a b/',
    'http://a/ b',
    'http://a/#x',
    'http://a#@b/',
    'http://a:99999/',
    'http://[::1/',
    'file:///etc/passwd',
    '*',
    '/x',
    '',
  ])('"%s" is none', (text) => expect(absoluteIn(text)).toBeNull());
});

const asked = (url: string, headers: Record<string, string> = {}) => ({ url, headers }) as unknown as IncomingMessage;

describe('the secret of the job', () => {
  const access = new Access();
  const { secret, placeholder } = access;
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
  const aws = (key: string) =>
    `AWS4-HMAC-SHA256 Credential=${key}/20261128/eu-central-1/s3/aws4_request, SignedHeaders=host, Signature=00`;
  const changed = fc
    .oneof(
      fc
        .tuple(fc.nat(63), fc.constantFrom(...'0123456789abcdefABCDEF.%/'))
        .map(([at, letter]) => secret.slice(0, at) + letter + secret.slice(at + 1)),
      fc.constantFrom(
        secret.toUpperCase(),
        secret.slice(1),
        `${secret}0`,
        ` ${secret}`,
        [...secret].reverse().join(''),
        '',
        placeholder.toUpperCase(),
      ),
      fc.stringMatching(/^[0-9a-f]{64}$/),
      fc.string(),
    )
    .filter((text) => text.trim() !== secret && text !== placeholder);
  const places: [string, (text: string) => IncomingMessage][] = [
    ['path', (text) => asked(`/${text}/x`)],
    ['path alone', (text) => asked(`/${text}`)],
    ['field', (text) => asked('/x', { 'sallyport-agent-secret': text })],
    ['bearer', (text) => asked('/x', { authorization: `Bearer ${text}` })],
    ['password', (text) => asked('/x', { authorization: basic(`a:${text}`) })],
    ['access key', (text) => asked('/x', { authorization: aws(text) })],
  ];

  it.each(places)('in the %s: opens, and the target is without it', (_name, make) => {
    const { granted, target } = access.present(make(secret));
    expect([granted, ['/x', ''].includes(target)]).toEqual([true, true]);
  });

  it.each(places)('in the %s: anything else does not, and the target stays', (_name, make) => {
    fc.assert(
      fc.property(changed, (text) => {
        const request = make(text);
        expect(access.present(request)).toEqual({ granted: false, target: request.url });
      }),
      RUNS,
    );
  });

  it.each(places)('the placeholder in the %s: as credentials only', (name, make) => {
    expect(access.present(make(placeholder)).granted).toBe(['bearer', 'password', 'access key'].includes(name));
  });

  it('as password of the proxy: the secret alone, whatever the user is called', () => {
    const shows = (value: string) => access.presentToProxy(asked('x:443', { 'proxy-authorization': value }));
    fc.assert(
      fc.property(fc.stringMatching(/^[^:]{0,10}$/), changed, (user, text) => {
        expect([shows(basic(`${user}:${secret}`)), shows(basic(`${user}:${text}`))]).toEqual([true, false]);
        expect([shows(text), shows(`Basic ${text}`)]).toEqual([false, false]);
      }),
      RUNS,
    );
    expect([shows(basic(`agent:${placeholder}`)), shows(basic(`${secret}:`)), shows(aws(placeholder))]).toEqual([
      false,
      false,
      false,
    ]);
  });
});

describe('header fields', () => {
  const name = fc.oneof(
    fc.constantFrom(
      'Host',
      'host',
      'Authorization',
      'AUTHORIZATION',
      'DPoP',
      'dpop',
      'Connection',
      'TE',
      'Keep-Alive',
      'Upgrade',
      'Trailer',
      'Expect',
      'Proxy-Authorization',
      'Proxy_Authorization',
      'Sallyport-Agent-Secret',
      'Content-Length',
      'Transfer-Encoding',
      'Transfer_Encoding',
      'X-Hop',
    ),
    fc.stringMatching(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}$/),
  );
  const value = fc.oneof(
    fc.constantFrom('close', 'x-hop', 'X-Kept, x-hop', 'chunked', '5', 'websocket', 'Authorization'),
    fieldValue,
  );
  const fields = fc.array(fc.tuple(name, value), { maxLength: 12 }).map((pairs) => pairs.flat());
  const credentials = { accessToken: 'TOKEN', proof: 'PROOF' };
  const foldedNames = (list: readonly string[]) => list.filter((_text, at) => at % 2 === 0).map(foldFieldName);
  const count = (list: readonly string[], one: string) => foldedNames(list).filter((folded) => folded === one).length;

  it('what the gateway gets: one Host, token, proof and framing, all of them ours, and nothing of the connection', () => {
    const body = fc.oneof(
      fc.constant({ kind: 'kept' as const, bytes: null, length: null }),
      fc.nat().map((length) => ({ kind: 'streamed' as const, source: asked('/'), length })),
      fc.constant({ kind: 'streamed' as const, source: asked('/'), length: null }),
    );
    fc.assert(
      fc.property(fields, body, (raw, outgoing) => {
        const sent = requestFields(raw, 'api.example', outgoing, credentials);
        for (const one of ['host', 'authorization', 'dpop']) expect(count(sent, one)).toBe(1);
        const framings = count(sent, 'content-length') + count(sent, 'transfer-encoding');
        expect(framings).toBe(outgoing.kind === 'kept' ? 0 : 1);
        expect(named(sent, 'host')).toEqual(['api.example']);
        expect(named(sent, 'authorization')).toEqual(['DPoP TOKEN']);
        for (const folded of foldedNames(sent)) {
          expect(HOP_BY_HOP.has(folded) && folded !== 'transfer-encoding').toBe(false);
          expect(folded).not.toBe('sallyport-agent-secret');
        }
      }),
      RUNS,
    );
  });

  it('an upgrade: the same, with exactly its own two fields of the connection', () => {
    fc.assert(
      fc.property(fields, (raw) => {
        const sent = upgradeFields(raw, 'api.example', credentials);
        for (const one of ['host', 'authorization', 'dpop', 'connection', 'upgrade']) expect(count(sent, one)).toBe(1);
        for (const one of ['content-length', 'transfer-encoding', 'proxy-authorization'])
          expect(count(sent, one)).toBe(0);
        expect(named(sent, 'upgrade')).toEqual(['websocket']);
      }),
      RUNS,
    );
  });

  it('another origin: nothing of the job is added, and the secret of the proxy stays here', () => {
    fc.assert(
      fc.property(fields, (raw) => {
        const sent = relayedFields(raw, 'other.example', { kind: 'kept', bytes: null, length: null });
        expect(sent.join()).not.toMatch(/TOKEN|PROOF/);
        for (const one of [
          'proxy-authorization',
          'sallyport-agent-secret',
          'connection',
          'transfer-encoding',
          'content-length',
        ])
          expect(count(sent, one)).toBe(0);
        expect(named(sent, 'host')).toEqual(['other.example']);
      }),
      RUNS,
    );
  });

  it('an answer: no nonce, nothing of the connection, nothing that leads around the agent', () => {
    fc.assert(
      fc.property(fields, (raw) => {
        const given = ['DPoP-Nonce', 'n', 'Alt-Svc', 'h3=":1"', ...raw];
        for (const one of ['dpop-nonce', 'alt-svc', 'connection', 'transfer-encoding', 'upgrade', 'keep-alive'])
          expect(named(answerFields(given, 200, null), one)).toEqual([]);
      }),
      RUNS,
    );
  });
});

describe('places of an API', () => {
  const api = (url: string) => {
    const { origin, pathname } = new URL(url);
    return { origin, basePath: pathname.replace(/\/$/, '') } as Api;
  };
  const target = fc.stringMatching(/^\/[a-z/.%?]{0,12}$/);

  it('a path belongs to an API by whole segments only, the longest first', () => {
    const apis = [api('https://a.example/v1'), api('https://a.example/v1/b'), api('https://b.example/')];
    fc.assert(
      fc.property(
        fc.oneof(
          target,
          target.map((text) => `/v1${text}`),
          target.map((text) => `/v1/b${text}`),
        ),
        (text) => {
          const path = text.split('?')[0] as string;
          const under = (base: string) => path === base || path.startsWith(`${base}/`);
          const expected = under('/v1/b') ? apis[1] : under('/v1') ? apis[0] : null;
          expect(apiFor(apis, 'https://a.example', text)).toBe(expected);
          expect(apiFor(apis, 'https://b.example', text)).toBe(apis[2]);
          expect(apiFor(apis, 'http://a.example', text)).toBeNull();
        },
      ),
      RUNS,
    );
  });

  it('only URLs below the base URL become local ones; every other text stays as it is', () => {
    const local = localUrl(api('https://a.example/v1'), 'http://127.0.0.1:1/s');
    fc.assert(
      fc.property(
        fc.oneof(
          target.map((text) => `https://a.example/v1${text}`),
          fc.webUrl(),
          hostile,
          hostile.map((text) => `https://a.example${text}`),
        ),
        (text) => {
          const rest = /^https:\/\/a\.example\/v1((?:[/?#].*)?)$/s.exec(text)?.[1];
          expect(local(text)).toBe(rest === undefined ? text : `http://127.0.0.1:1/s${rest}`);
        },
      ),
      RUNS,
    );
  });
});

describe('the configuration', () => {
  const good = {
    version: 1,
    broker: { url: 'https://broker.example', identity: { source: 'gitlab' } },
    apis: [{ name: 'cloud', url: 'https://a.example/v1', scopes: ['read'] }],
  };

  it('any value is a configuration or a ConfigError that names a key; nothing else is thrown', () => {
    const read = (value: unknown) => {
      try {
        return parseAgentConfig(value, 'flags');
      } catch (error) {
        expect(error).toBeInstanceOf(ConfigError);
        expect((error as ConfigError).problems.length).toBeGreaterThan(0);
        return null;
      }
    };
    expect(read(good)).not.toBeNull();
    const member = fc.oneof(
      fc.jsonValue(),
      fc.webUrl(),
      fc.string(),
      fc.constantFrom(0, -1, 1e9, null, [], {}, 'http://[', 'https://u:p@a.example', 'http://a.example'),
    );
    fc.assert(
      fc.property(
        fc.constantFrom(
          'version',
          'key',
          'broker',
          'apis',
          'proxy',
          'placeholders',
          'ca_file',
          'lifetime_seconds',
          'idle_timeout_ms',
          'other',
        ),
        member,
        (key, value) => void read({ ...good, [key]: value }),
      ),
      RUNS,
    );
    fc.assert(
      fc.property(
        fc.constantFrom(
          'name',
          'url',
          'gateway',
          'resource',
          'scopes',
          'authorization_details',
          'listen',
          'port',
          'variables',
          'kubeconfig',
          'x',
        ),
        member,
        (key, value) => {
          const config = read({ ...good, apis: [{ ...good.apis[0], [key]: value }] });
          // Tokens go to a place that is https, or this machine.
          for (const one of config?.apis ?? []) {
            const url = new URL(one.gateway ?? one.url);
            expect(url.protocol === 'https:' || ['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname)).toBe(true);
            expect([url.username, url.password]).toEqual(['', '']);
          }
        },
      ),
      RUNS,
    );
  });
});
