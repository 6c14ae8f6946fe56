import { z } from 'zod';
import { algorithms, file } from './values.ts';

/** Whether proofs must carry a nonce. */
export const nonceDemand = z.enum(['off', 'required']);

/** What is demanded of proofs. */
export const dpop = z.strictObject({
  algorithms: algorithms.describe('Signature algorithms that proofs may use.'),
  max_age_seconds: z.int().min(1).max(3600).default(60).describe('How old a proof may be.'),
  leeway_seconds: z.int().min(0).max(60).default(10).describe('How far ahead a proof may be dated.'),
  nonce: nonceDemand
    .default('off')
    .describe('Whether proofs must carry a nonce of this gateway (RFC 9449 §9); dpop_nonce of a route goes before.'),
  nonce_secret_files: z
    .array(file)
    .min(1)
    .max(8)
    .optional()
    .describe(
      'Files of mode 0600 with the secrets of nonces, at least 32 bytes each; the first makes new nonces, the others (the one before, the next one) are known too. Read again when they change. Absent: a random secret of this start, which other gateways do not know.',
    ),
  nonce_lifetime_seconds: z
    .int()
    .min(10)
    .max(86_400)
    .default(300)
    .describe('How long a nonce is good for; after half of it, answers carry a new one.'),
});
