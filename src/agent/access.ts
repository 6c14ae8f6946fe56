import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { sha256Base64url } from '../oauth/thumbprint.ts';

/** Header field by which a tool may show the secret. */
export const SECRET_FIELD = 'sallyport-agent-secret';

/** Bytes of randomness; as lower-case hexadecimal it can stand in a URL, a header field and an AWS access key identifier. */
const SECRET_BYTES = 32;
const FIRST_SEGMENT = /^\/([0-9a-f]{64})(?=[/?]|$)/;
/** AWS Signature Version 4: `Credential=ACCESS_KEY/date/region/service/aws4_request`. */
const AWS_KEY = /^AWS4-[A-Z0-9-]+ .*\bCredential=([0-9a-f]{64})\//;

/** A request that showed the secret, or did not. */
export interface Presented {
  readonly granted: boolean;
  /** The target without the secret: what stands behind a base URL. */
  readonly target: string;
}

/** The secrets of one job, without which nobody on this machine can use the agent. */
export class Access {
  readonly secret = randomBytes(SECRET_BYTES).toString('hex');
  /**
   * What tools get where they insist on credentials of a cloud. Not the secret: a tool that is led to, or meant to, call another origin
   * signs with it there, names it in presigned URLs and prints it. It opens the local port of an API only, and only as credentials.
   */
  readonly placeholder = randomBytes(SECRET_BYTES).toString('hex');
  readonly #digest = digestOf(this.secret);
  readonly #placeholderDigest = digestOf(this.placeholder);

  /**
   * Whether a request shows the secret: as first segment of its path, in `Sallyport-Agent-Secret`, or, like the placeholder, where tools put
   * credentials: as bearer token, as password, or as access key of an AWS signature.
   */
  present(request: IncomingMessage): Presented {
    const target = request.url ?? '';
    const segment = FIRST_SEGMENT.exec(target)?.[1];
    if (segment !== undefined && this.#is(segment)) {
      return { granted: true, target: target.slice(segment.length + 1) };
    }
    const { authorization, [SECRET_FIELD]: field } = request.headers;
    const credentials = secretIn(authorization);
    const granted =
      (typeof field === 'string' && this.#is(field)) ||
      (credentials !== null && (this.#is(credentials) || equals(credentials, this.#placeholderDigest)));
    return { granted, target };
  }

  /** The same for a proxy: `Proxy-Authorization: Basic`, as clients send what stands in HTTPS_PROXY before the `@` (RFC 9110 §11.7.2). */
  presentToProxy(request: IncomingMessage): boolean {
    const shown = secretIn(request.headers['proxy-authorization']);
    return shown !== null && this.#is(shown);
  }

  #is(text: string): boolean {
    return equals(text, this.#digest);
  }
}

/** By digest, in constant time. */
function equals(text: string, digest: Buffer): boolean {
  return timingSafeEqual(digestOf(text), digest);
}

function secretIn(credentials: string | undefined): string | null {
  const [, scheme = '', value = ''] = /^(\S+)\s+(.*)$/.exec(credentials ?? '') ?? [];
  if (scheme.toLowerCase() === 'bearer') return value.trim();
  if (scheme.toLowerCase() === 'basic') {
    const text = Buffer.from(value, 'base64').toString('utf8');
    return text.slice(text.indexOf(':') + 1);
  }
  return AWS_KEY.exec(credentials ?? '')?.[1] ?? null;
}

function digestOf(text: string): Buffer {
  return Buffer.from(sha256Base64url(text));
}
