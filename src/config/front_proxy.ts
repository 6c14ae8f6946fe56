import { z } from 'zod';
import { parseNetwork } from './network.ts';

/** How proxies in front are told from everybody else, the same in every file. At least one of the two must be there, which each file checks. */
export const frontProxyIdentity = {
  addresses: z
    .array(
      z.string().refine((text) => parseNetwork(text) !== null, {
        error: 'expected an address or a network such as 10.0.0.0/8',
      }),
    )
    .min(1)
    .optional()
    .describe('Where the proxies connect from. Absent: from anywhere, then certificate_names is needed.'),
  certificate_names: z
    .array(z.string().regex(/^[\x21-\x7e]{1,1024}$/, 'expected a DNS name or a URI'))
    .min(1)
    .optional()
    .describe(
      'DNS names or URIs, one of which the TLS certificate of the proxy itself must carry (subjectAltName); it must chain to client_ca_file.',
    ),
};
