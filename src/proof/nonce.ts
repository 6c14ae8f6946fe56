import { createHmac, type KeyObject, randomBytes, timingSafeEqual } from 'node:crypto';
import { secondsOf } from '../kernel/clock.ts';
import type { NonceSecrets } from './nonce_secrets.ts';

/**
 * What a nonce says of itself. `good`; `due`: good, and it is time to give a new one; `missing`; `unknown`: not made with these secrets for
 * this key; `expired`: or dated ahead of this clock; `elsewhere`: of another node, where only this one's counts.
 */
export type NonceVerdict = 'good' | 'due' | 'missing' | 'unknown' | 'expired' | 'elsewhere';

/** What a nonce is judged by. */
export interface NonceCheck {
  /** Thumbprint of the key that the token is bound to. */
  readonly jkt: string;
  /** Milliseconds of the gateway's clock. */
  readonly nowMs: number;
  /** Whether it must be a nonce of this node. */
  readonly onlyHere: boolean;
}

/** What nonces are made with. */
export interface NoncesOptions {
  readonly secrets: NonceSecrets;
  /** Seconds that a nonce is good for; after half of them a new one is due. */
  readonly lifetimeSeconds: number;
  /** Seconds that another node's clock may be ahead of this one's. */
  readonly leewaySeconds: number;
}

const VERSION = 1;
/** Layout in bytes: version, node, second, MAC. 30 bytes are 40 characters of base64url and leave no bit unused. */
const NODE = { at: 1, bytes: 8 } as const;
const SECOND = { at: 9, bytes: 5 } as const;
const MAC = { at: 14, bytes: 16 } as const;
const TEXT_LENGTH = 40;
/** Keeps these MACs apart from any other use of the same secret. */
const PURPOSE = 'sallyport DPoP-Nonce';

/**
 * Nonces for DPoP proofs (RFC 9449 §8, §9) that nobody has to remember: the time, the node, and a MAC (HMAC-SHA-256, cut to 128 bits: RFC
 * 2104 §5) over both and the thumbprint of the key. Any node with the same secret knows them. A node is one process from start to end: its
 * name is random, so what another process accepted, or this one before a restart, was never a nonce of this node.
 */
export class Nonces {
  readonly #secrets: NonceSecrets;
  readonly #lifetime: number;
  readonly #leeway: number;
  readonly #node = randomBytes(NODE.bytes);

  constructor({ secrets, lifetimeSeconds, leewaySeconds }: NoncesOptions) {
    this.#secrets = secrets;
    this.#lifetime = lifetimeSeconds;
    this.#leeway = leewaySeconds;
  }

  /** A nonce for the holder of this key, as it stands in `DPoP-Nonce`. */
  give(jkt: string, nowMs: number): string {
    const nonce = Buffer.allocUnsafe(MAC.at + MAC.bytes);
    nonce[0] = VERSION;
    nonce.set(this.#node, NODE.at);
    nonce.writeUIntBE(secondsOf(nowMs), SECOND.at, SECOND.bytes);
    nonce.set(macOf(nonce, jkt, this.#secrets.current()[0] as KeyObject), MAC.at);
    return nonce.toString('base64url');
  }

  /** Judges the `nonce` claim of a proof. */
  check(text: string | undefined, { jkt, nowMs, onlyHere }: NonceCheck): NonceVerdict {
    if (text === undefined) return 'missing';
    if (text.length !== TEXT_LENGTH) return 'unknown';
    const nonce = Buffer.from(text, 'base64url');
    // Decoding skips characters that are none of the alphabet; there is one spelling.
    if (nonce.length !== MAC.at + MAC.bytes || nonce.toString('base64url') !== text) return 'unknown';
    if (nonce[0] !== VERSION || !this.#isOurs(nonce, jkt)) return 'unknown';
    const age = secondsOf(nowMs) - nonce.readUIntBE(SECOND.at, SECOND.bytes);
    if (age >= this.#lifetime || age < -this.#leeway) return 'expired';
    if (onlyHere && !this.#node.equals(nonce.subarray(NODE.at, SECOND.at))) return 'elsewhere';
    return age * 2 >= this.#lifetime ? 'due' : 'good';
  }

  #isOurs(nonce: Buffer, jkt: string): boolean {
    const mac = nonce.subarray(MAC.at);
    for (const secret of this.#secrets.current()) if (timingSafeEqual(macOf(nonce, jkt, secret), mac)) return true;
    return false;
  }
}

/** Over what stands before the MAC, of fixed length, and the thumbprint: no two pairs give one input. */
function macOf(nonce: Buffer, jkt: string, secret: KeyObject): Buffer {
  const mac = createHmac('sha256', secret).update(PURPOSE).update(nonce.subarray(0, MAC.at)).update(jkt).digest();
  return mac.subarray(0, MAC.bytes);
}
