import { createHash, createHmac, createPrivateKey, sign } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';
import { type PemPair, repack, replaced } from './bundles.ts';
import { paxRecord, type TarEntry, tar, tarEntry, tarGz, untar } from './tar.ts';

/** One way to change a signed bundle, and what the refusal must say. */
export interface Tampering {
  readonly name: string;
  readonly says: RegExp;
  /** What kind of reason it is. */
  readonly code: 'archive' | 'signature';
  make(): Buffer;
}

/** What tampering starts from. */
export interface TamperingParts {
  /** Signed with `key`, key id k1, scope live; data `{"q":{"n":1.50}}`. */
  readonly bundle: Buffer;
  readonly unsigned: Buffer;
  readonly bySomebodyElse: Buffer;
  readonly forAnotherScope: Buffer;
  readonly key: PemPair;
}

const SIGNATURES = '/.signatures.json';
const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** The whole family: each is one change away from a bundle that is accepted. */
export function tamperings(parts: TamperingParts): Tampering[] {
  return [
    ...signatureTamperings(parts),
    ...fileTamperings(parts),
    ...nameTamperings(parts),
    ...archiveTamperings(parts),
  ];
}

/** The JWS of the bundle, opened. */
interface Jws {
  readonly header: Record<string, unknown>;
  readonly payload: { files: { name: string; hash: string; algorithm: string }[] } & Record<string, unknown>;
  readonly signature: string;
}

function jwsOf(bundle: Buffer): Jws {
  const entry = untar(gunzipSync(bundle)).find(({ name }) => name === SIGNATURES);
  const { signatures } = JSON.parse(Buffer.from(entry?.content ?? '').toString('utf8')) as { signatures: [string] };
  const [header = '', payload = '', signature = ''] = signatures[0].split('.');
  const read = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString('utf8')) as never;
  return { header: read(header), payload: read(payload), signature };
}

/** The bundle with another `.signatures.json`. */
function withSignatures(bundle: Buffer, text: string): Buffer {
  return repack(bundle, (entries) => replaced(entries, SIGNATURES, () => text));
}

/** The bundle signed anew by the good key over something else. */
function resigned(
  { bundle, key }: TamperingParts,
  change: (jws: Jws) => { header?: object; payload?: object },
): Buffer {
  const jws = jwsOf(bundle);
  const { header = jws.header, payload = jws.payload } = change(jws);
  const signed = `${base64url(header)}.${base64url(payload)}`;
  const signature = sign('sha256', Buffer.from(signed), {
    key: createPrivateKey(key.privateKey),
    dsaEncoding: 'ieee-p1363',
  });
  return withSignatures(bundle, JSON.stringify({ signatures: [`${signed}.${signature.toString('base64url')}`] }));
}

function compact({ header, payload, signature }: Jws): string {
  return `${base64url(header)}.${base64url(payload)}.${signature}`;
}

function signatureTamperings(parts: TamperingParts): Tampering[] {
  const { bundle, unsigned, bySomebodyElse, forAnotherScope, key } = parts;
  const jws = jwsOf(bundle);
  const good = compact(jws);
  const signatures = (value: unknown) => () => withSignatures(bundle, JSON.stringify(value));
  const signature = (name: string, says: RegExp, make: () => Buffer): Tampering => ({
    name,
    says,
    code: 'signature',
    make,
  });
  return [
    signature('unsigned', /not signed/, () => unsigned),
    signature('stripped signature', /not signed/, () =>
      repack(bundle, (all) => all.filter(({ name }) => name !== SIGNATURES)),
    ),
    signature('no signature in the list', /has 0 signatures/, signatures({ signatures: [] })),
    signature('two signatures', /has 2 signatures/, signatures({ signatures: [good, good] })),
    signature('signatures that are no list', /malformed/, signatures({ signatures: good })),
    signature('a further member', /malformed/, signatures({ signatures: [good], more: 1 })),
    signature('another plugin', /plugin/, signatures({ signatures: [good], plugin: 'mine' })),
    signature('something after the signatures', /malformed/, () =>
      withSignatures(bundle, `${JSON.stringify({ signatures: [good] })}x`),
    ),
    signature('no JWS', /not a compact JWS/, signatures({ signatures: ['abc'] })),
    signature('another key', /failed to verify|verification/, () => bySomebodyElse),
    signature('another scope', /scope mismatch/, () => forAnotherScope),
    signature(
      'a signature that was changed',
      /failed to verify/,
      signatures({ signatures: [`${good.slice(0, -4)}AAAA`] }),
    ),
    signature('an unknown key id', /not found/, () =>
      resigned(parts, () => ({ header: { ...jws.header, kid: 'k2' } })),
    ),
    signature('names below another root', /not found|not among/, () =>
      resigned(parts, ({ payload }) => ({
        payload: { ...payload, files: payload.files.map((file) => ({ ...file, name: `other/${file.name}` })) },
      })),
    ),
    signature(
      'algorithm none',
      /algorithm/,
      signatures({ signatures: [`${base64url({ alg: 'none', kid: 'k1' })}.${base64url(jws.payload)}.`] }),
    ),
    signature('HS256 with the public key as the secret', /algorithm/, () => {
      const signed = `${base64url({ alg: 'HS256', kid: 'k1' })}.${base64url(jws.payload)}`;
      const mac = createHmac('sha256', key.publicKey).update(signed).digest('base64url');
      return withSignatures(bundle, JSON.stringify({ signatures: [`${signed}.${mac}`] }));
    }),
    signature('a critical extension', /critical/, () =>
      resigned(parts, () => ({ header: { ...jws.header, crit: ['x'], x: 1 } })),
    ),
    signature('an unencoded payload', /unencoded/, () =>
      resigned(parts, () => ({ header: { ...jws.header, b64: false } })),
    ),
    signature('one file named twice', /twice/, () =>
      resigned(parts, ({ payload }) => ({ payload: { ...payload, files: [...payload.files, ...payload.files] } })),
    ),
    signature('MD5', /MD5/, () =>
      resigned(parts, ({ payload }) => ({ payload: { ...payload, files: weakHashes(bundle) } })),
    ),
    signature('a file of the signature that is missing', /not found/, () =>
      repack(bundle, (all) => all.filter(({ name }) => !name.endsWith('.rego'))),
    ),
    signature('a file that the signature leaves out', /not among those that are signed/, () =>
      resigned(parts, ({ payload }) => ({
        payload: { ...payload, files: payload.files.filter(({ name }) => !name.endsWith('.rego')) },
      })),
    ),
    signature('no scope in the signature', /scope mismatch/, () =>
      resigned(parts, ({ payload: { scope: _, ...rest } }) => ({ payload: rest })),
    ),
  ];
}

function weakHashes(bundle: Buffer): { name: string; hash: string; algorithm: string }[] {
  return untar(gunzipSync(bundle))
    .filter(({ name }) => name !== SIGNATURES)
    .map(({ name, content = '' }) => ({
      name: name.slice(1),
      hash: createHash('md5').update(content).digest('hex'),
      algorithm: 'MD5',
    }));
}

function fileTamperings({ bundle }: TamperingParts): Tampering[] {
  const changed = (name: string, from: string | RegExp, to: string) => () =>
    repack(bundle, (all) => replaced(all, name, (text) => text.replace(from, to)));
  const added =
    (...entries: TarEntry[]) =>
    () =>
      repack(bundle, (all) => [...all, ...entries]);
  const signature = (name: string, says: RegExp, make: () => Buffer): Tampering => ({
    name,
    says,
    code: 'signature',
    make,
  });
  return [
    signature('changed Rego', /digest mismatch/, changed('/sallyport/decision.rego', 'false', 'true ')),
    signature('one space more in Rego', /digest mismatch/, changed('/sallyport/decision.rego', 'package', ' package')),
    signature('changed data', /digest mismatch/, changed('/data.json', '1.50', '2.50')),
    signature('changed number spelling', /digest mismatch/, changed('/data.json', '1.50', '1.5')),
    signature('a number as an exponent', /digest mismatch/, changed('/data.json', '1.50', '150e-2')),
    signature('a number as a text', /digest mismatch/, changed('/data.json', '1.50', '"1.50"')),
    signature('one member more in the manifest', /digest mismatch/, changed('/.manifest', '{', '{"metadata":{"x":1},')),
    signature(
      'another revision in the manifest',
      /digest mismatch/,
      changed('/.manifest', '"revision":"', '"revision":"9'),
    ),
    signature('other roots in the manifest', /digest mismatch/, changed('/.manifest', '"roots":[""]', '"roots":["x"]')),
    signature(
      'an extra Rego file',
      /not among those that are signed/,
      added({ name: '/extra.rego', content: 'package extra\n' }),
    ),
    signature(
      'an extra data file',
      /not among those that are signed/,
      added({ name: '/sallyport/data.json', content: '{"x":1}' }),
    ),
    signature(
      'an extra file of another kind',
      /not among those that are signed/,
      added({ name: '/README', content: 'x' }),
    ),
    signature('an extra WASM module', /not among those that are signed/, added({ name: '/policy.wasm', content: 'x' })),
    signature('a patch beside the files', /delta/, added({ name: '/patch.json', content: '{"data":[]}' })),
    signature('a delta bundle', /not signed|delta/, () =>
      tarGz([{ name: '/patch.json', content: '{"data":[{"op":"upsert","path":"/q","value":1}]}' }]),
    ),
  ];
}

function nameTamperings({ bundle }: TamperingParts): Tampering[] {
  const added =
    (...entries: TarEntry[]) =>
    () =>
      repack(bundle, (all) => [...all, ...entries]);
  const renamed = (from: string, to: string) => () =>
    repack(bundle, (all) => all.map((entry) => (entry.name === from ? { ...entry, name: to } : entry)));
  const archive = (name: string, says: RegExp, make: () => Buffer): Tampering => ({
    name,
    says,
    code: 'archive',
    make,
  });
  const rego = 'package extra\n';
  return [
    archive(
      'x.signatures.json in place of the signature',
      /looks like a signature/,
      renamed(SIGNATURES, '/x.signatures.json'),
    ),
    archive(
      'x.signatures.json beside the signature',
      /looks like a signature/,
      added({ name: 'x.signatures.json', content: '{}' }),
    ),
    archive(
      'a signature in a folder',
      /looks like a signature/,
      added({ name: 'sub/.signatures.json', content: '{}' }),
    ),
    archive('a signature in other case', /looks like a signature/, added({ name: '.Signatures.json', content: '{}' })),
    archive('a second signature file', /twice/, added({ name: '.signatures.json', content: '{}' })),
    archive('a second manifest in a folder', /looks like a manifest/, added({ name: 'sub/.manifest', content: '{}' })),
    archive('x.manifest', /looks like a manifest/, added({ name: 'x.manifest', content: '{}' })),
    archive('a patch in a folder', /looks like a patch/, added({ name: 'sub/patch.json', content: '{}' })),
    archive('one name twice', /twice/, added({ name: '/sallyport/decision.rego', content: rego })),
    archive(
      'one name twice, with and without a slash before it',
      /twice/,
      added({ name: 'sallyport/decision.rego', content: rego }),
    ),
    archive('one name twice, with ./ before it', /twice/, added({ name: './sallyport/decision.rego', content: rego })),
    archive('names that differ in case', /differ in case/, added({ name: '/sallyport/Decision.rego', content: rego })),
    archive('folders that differ in case', /differ in case/, added({ name: '/Sallyport/other.rego', content: rego })),
    archive('a file that is a folder elsewhere', /a file and a folder/, added({ name: '/sallyport', content: rego })),
    archive(
      'a folder that is a file elsewhere',
      /a file and a folder/,
      added({ name: '/sallyport/decision.rego/x.rego', content: rego }),
    ),
    archive('a way out of the bundle', /leads out/, added({ name: '../extra.rego', content: rego })),
    archive('a way out in the middle', /leads out/, added({ name: 'a/../../extra.rego', content: rego })),
    archive(
      'a name that is not in its shortest form',
      /shortest form/,
      added({ name: 'a//extra.rego', content: rego }),
    ),
    archive('a dot in the middle', /shortest form/, added({ name: 'a/./extra.rego', content: rego })),
    archive('an absolute name', /absolute/, added({ name: '//etc/extra.rego', content: rego })),
    archive('a backslash', /backslash/, added({ name: 'a\\extra.rego', content: rego })),
    archive('a control character', /control/, added({ name: 'a\nextra.rego', content: rego })),
    archive('an empty name', /empty/, added({ name: '', content: rego })),
    archive('a name that is not UTF-8', /not UTF-8/, () => {
      const entry = tarEntry({ name: 'aextra.rego', content: rego });
      entry[0] = 0xff;
      const sum = entry
        .subarray(0, 512)
        .fill(' ', 148, 156)
        .reduce((total, byte) => total + byte, 0);
      entry.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
      return gzipSync(Buffer.concat([entry, gunzipSync(bundle)]));
    }),
  ];
}

function archiveTamperings({ bundle }: TamperingParts): Tampering[] {
  const archive = (name: string, says: RegExp, make: () => Buffer): Tampering => ({
    name,
    says,
    code: 'archive',
    make,
  });
  const added =
    (...entries: TarEntry[]) =>
    () =>
      repack(bundle, (all) => [...all, ...entries]);
  const unpacked = gunzipSync(bundle);
  const pax = (records: string, type = 'x') => [
    { name: 'PaxHeader', type, content: records },
    { name: 'extra.rego', content: 'package extra\n' },
  ];
  return [
    archive('a symbolic link', /is a link/, added({ name: 'extra.rego', type: '2', link: '/etc/passwd' })),
    archive('a hard link', /is a link/, added({ name: 'extra.rego', type: '1', link: 'sallyport/decision.rego' })),
    archive('a device', /neither a file nor a folder/, added({ name: 'extra', type: '3' })),
    archive('a named pipe', /neither a file nor a folder/, added({ name: 'extra', type: '6' })),
    archive(
      'a header for all that follow',
      /neither a file nor a folder/,
      added(...pax(paxRecord('comment', 'x'), 'g')),
    ),
    archive('an extended header with a size', /extended header/, added(...pax(paxRecord('size', '14')))),
    archive('an extended header with a link', /extended header/, added(...pax(paxRecord('linkpath', '/etc/passwd')))),
    archive('an extended header that is not known', /extended header/, added(...pax(paxRecord('VENDOR.name', 'x')))),
    archive('an extended header with another name', /leads out/, added(...pax(paxRecord('path', '../extra.rego')))),
    archive(
      'an extended header that makes a name come twice',
      /twice/,
      added(...pax(paxRecord('path', 'sallyport/decision.rego'))),
    ),
    archive(
      'an old GNU sparse file',
      /neither a file nor a folder|not a whole tar/,
      added({ name: 'extra.rego', type: 'S' }),
    ),
    archive('two gzip members', /follow the end of the gzip data/, () => Buffer.concat([bundle, gzipSync(tar([]))])),
    archive('two bundles one after the other', /follow the end of the gzip data/, () =>
      Buffer.concat([bundle, bundle]),
    ),
    archive('garbage after the gzip data', /follow the end of the gzip data/, () =>
      Buffer.concat([bundle, Buffer.from('x')]),
    ),
    archive('garbage after the tar archive', /follows the end of the tar/, () =>
      gzipSync(Buffer.concat([unpacked, Buffer.from('x')])),
    ),
    archive('a second archive after the first', /follows the end of the tar/, () =>
      gzipSync(Buffer.concat([unpacked, tar([{ name: 'extra.rego' }])])),
    ),
    archive('an archive without its end', /end of the tar archive is missing/, () =>
      gzipSync(unpacked.subarray(0, -1024)),
    ),
    archive('half of it', /cannot be unpacked/, () => bundle.subarray(0, bundle.length >> 1)),
    archive('all but the last byte', /cannot be unpacked/, () => bundle.subarray(0, -1)),
    archive('another checksum', /cannot be unpacked/, () => {
      const copy = Buffer.from(bundle);
      copy.writeUInt32LE((copy.readUInt32LE(copy.length - 8) ^ 1) >>> 0, copy.length - 8);
      return copy;
    }),
    archive('half of the tar archive', /not a whole tar|cut off/, () => gzipSync(unpacked.subarray(0, 520))),
    archive('another checksum of a header', /not a whole tar/, () => {
      const copy = Buffer.from(unpacked);
      copy[10] = 0x78;
      return gzipSync(copy);
    }),
    archive('a zip bomb', /unpacks to more than/, () => gzipSync(Buffer.alloc(80_000_000))),
    archive(
      'a zip bomb within a file',
      /unpacks to more than/,
      added({ name: 'extra.json', content: Buffer.alloc(80_000_000) }),
    ),
    archive(
      'more entries than there may be',
      /more than 10000 entries/,
      added(...Array.from({ length: 10_001 }, (_, index) => ({ name: `e/${index}` }))),
    ),
    archive('nothing', /not a gzip file/, () => Buffer.alloc(0)),
    archive('an archive that is not compressed', /not a gzip file/, () => unpacked),
    archive('a page', /not a gzip file/, () => Buffer.from('<!doctype html><title>not found</title>')),
    archive('random bytes in gzip', /not a whole tar/, () => gzipSync(Buffer.alloc(2048, 0x5a))),
  ];
}
