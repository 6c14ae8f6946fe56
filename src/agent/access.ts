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

/** The secret of one job, without which nobody on this machine can use the agent. */
export class Access {
  readonly secret = randomBytes(SECRET_BYTES).toString('hex');
  readonly #digest = digestOf(this.secret);

  /**
   * Whether a request shows the secret: as first segment of its path, in `Sallyport-Agent-Secret`, or where tools put the placeholder
   * credentials that were exported: as bearer token, as password, or as access key of an AWS signature.
   */
  present(request: IncomingMessage): Presented {
    const target = request.url ?? '';
    const segment = FIRST_SEGMENT.exec(target)?.[1];
    if (segment !== undefined && this.#is(segment)) {
      return { granted: true, target: target.slice(segment.length + 1) };
    }
    const { authorization, [SECRET_FIELD]: field } = request.headers;
    const shown = [typeof field === 'string' ? field : null, secretIn(authorization)];
    return { granted: shown.some((text) => text !== null && this.#is(text)), target };
  }

  /** The same for a proxy: `Proxy-Authorization: Basic`, as clients send what stands in HTTPS_PROXY before the `@` (RFC 9110 §11.7.2). */
  presentToProxy(request: IncomingMessage): boolean {
    const shown = secretIn(request.headers['proxy-authorization']);
    return shown !== null && this.#is(shown);
  }

  /** By digest, in constant time. */
  #is(text: string): boolean {
    return timingSafeEqual(digestOf(text), this.#digest);
  }
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
