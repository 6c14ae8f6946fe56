import { z } from 'zod';
import type { SettingProblem } from './problems.ts';
import { isLoopback } from './values.ts';

/** The control planes that a gateway talks to: where bundles come from, and where status reports and records go (OPA's management APIs). */

const path = z.string().min(1).max(4096);
/** Names a service, a bundle or a key; also names files. */
export const resourceName = z
  .string()
  .regex(/^[A-Za-z0-9][\w.-]{0,127}$/, 'expected letters, digits, - _ and ., beginning with a letter or digit');

const url = z.string().refine(isServiceUrl, {
  error: 'expected an absolute http or https URL without user information, query or fragment',
});

const bearer = z.strictObject({
  type: z.literal('bearer'),
  token_file: path.describe('File with the token; read for each request.'),
  scheme: z
    .string()
    .regex(/^[A-Za-z][\w-]{0,31}$/, 'expected a scheme such as Bearer')
    .default('Bearer')
    .describe('What stands before the token.'),
});

const oauth2 = z.strictObject({
  type: z.literal('oauth2'),
  token_endpoint: url.describe('Where tokens are had (RFC 6749 §4.4).'),
  client_id: z.string().min(1).max(1024).describe('Client identifier of the gateway there.'),
  private_key_file: path.describe('Private JWK that the gateway authenticates with (private_key_jwt, RFC 7523).'),
  audience: z
    .string()
    .min(1)
    .max(2048)
    .optional()
    .describe('Audience of the assertion: the issuer of the authorization server. Absent: the token endpoint.'),
  scopes: z.array(z.string().min(1).max(256)).default([]).describe('Scopes that are asked for.'),
});

const clientCertificate = z.strictObject({
  type: z.literal('client_certificate'),
  certificate_file: path.describe('PEM certificate chain that the gateway shows; read again when it changes.'),
  key_file: path.describe('PEM private key of the certificate.'),
});

/** How one control plane is reached. */
export const service = z.strictObject({
  name: resourceName.describe('What other settings call it.'),
  url: url.describe('Base URL; what is asked for is added to its path.'),
  ca_file: path.optional().describe('PEM certificates that it must chain to; absent: those of Node.js.'),
  timeout_ms: z
    .int()
    .min(10)
    .max(600_000)
    .default(10_000)
    .describe('How long an answer may take, to its last byte; a long poll may take so much longer than it waits.'),
  credentials: z
    .discriminatedUnion('type', [bearer, oauth2, clientCertificate])
    .optional()
    .describe('How the gateway authenticates. Absent: not at all.'),
  allow_insecure: z.boolean().default(false).describe('Allow http to a service that is not on loopback.'),
});

/** One control plane of the configuration. */
export type ServiceConfig = z.output<typeof service>;
/** How the gateway authenticates to it. */
export type ServiceCredentials = NonNullable<ServiceConfig['credentials']>;

function isServiceUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password } = new URL(text);
  return /^https?:$/.test(protocol) && username === '' && password === '' && !/[?#\s]/.test(text);
}

/** What of the services does not fit together. */
export function findServiceProblems(services: readonly ServiceConfig[]): SettingProblem[] {
  return services.flatMap((entry, index) => {
    const problems: SettingProblem[] = [];
    const at = (key: string, message: string) => problems.push({ path: ['services', index, key], message });
    if (services.findIndex(({ name }) => name === entry.name) !== index) at('name', 'this name is used twice');
    const { credentials } = entry;
    const urls: [string, string][] = [['url', entry.url]];
    if (credentials?.type === 'oauth2') urls.push(['credentials', credentials.token_endpoint]);
    for (const [key, text] of urls) {
      if (text.startsWith('http://') && !isLoopback(new URL(text).hostname) && !entry.allow_insecure) {
        at(key, 'policies decide who may do what, so they come over https; allow_insecure: true allows http');
      }
    }
    if (credentials?.type === 'client_certificate' && entry.url.startsWith('http://')) {
      at('credentials', 'a client certificate needs https');
    }
    return problems;
  });
}
