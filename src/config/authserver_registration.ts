import { z } from 'zod';
import { ceiling, jobClaimName, workload } from './authserver_clients.ts';
import { algorithm, file, httpUrl, identifier } from './values.ts';

/** The part of the authorization server's configuration that says who may register clients (RFC 7591). */

const name = z
  .string()
  .regex(/^[a-z][a-z0-9_-]{0,62}$/, 'expected lower-case letters, digits, - and _')
  .describe('Names it in the log and in the records of its clients.');

const initialAccessToken = z.strictObject({
  name,
  token_file: file.describe(
    'File of mode 0600 with the initial access token, at least 32 characters; read again when it changes.',
  ),
  ...ceiling,
  job_from_assertion: z
    .array(jobClaimName)
    .default([...jobClaimName.options])
    .describe('What its clients may state of a job in their assertions. Absent: everything, as a CI engine knows it.'),
});

const registeringWorkload = workload.extend({
  name,
  identity_claims: z
    .array(z.string().min(1).max(256))
    .min(1)
    .max(8)
    .describe(
      'Claims whose values make the identity of the client, such as repository_id: identifiers that never change hands.',
    ),
  ...ceiling,
});

const softwareStatements = z.strictObject({
  issuers: z
    .array(
      z.strictObject({
        issuer: identifier.describe('Who signs statements; compared byte for byte with iss.'),
        jwks_uri: httpUrl.optional().describe('Where the keys are.'),
        jwks_file: file.optional().describe('A JWK Set file with the public keys.'),
        algorithms: z.array(algorithm).min(1).default(['ES256', 'PS256', 'EdDSA']).describe('Signature algorithms.'),
      }),
    )
    .min(1)
    .max(20)
    .describe('Whose statements are believed.'),
  required: z.boolean().default(false).describe('Refuse registrations without a statement.'),
});

/** `registration` of a configuration. */
export const registration = z.strictObject({
  initial_access_tokens: z.array(initialAccessToken).max(100).default([]).describe('Who may register by a token.'),
  workloads: z
    .array(registeringWorkload)
    .max(100)
    .default([])
    .describe('Workload identity tokens that register a client for themselves.'),
  software_statements: softwareStatements.optional().describe('Software statements (RFC 7591 §2.3).'),
  client_lifetime_seconds: z
    .int()
    .min(60)
    .max(31_536_000)
    .default(7_776_000)
    .describe('After this a client must register again.'),
  unused_seconds: z
    .int()
    .min(60)
    .max(31_536_000)
    .default(2_592_000)
    .describe('A client that got no token for so long is removed.'),
  clients: z.int().min(1).max(1_000_000).default(10_000).describe('Registered clients at most.'),
});

/** Who may register clients. */
export type RegistrationConfig = z.output<typeof registration>;
/** One initial access token. */
export type InitialAccessTokenConfig = z.output<typeof initialAccessToken>;
/** Workload identity tokens that register a client for themselves. */
export type RegisteringWorkloadConfig = z.output<typeof registeringWorkload>;
