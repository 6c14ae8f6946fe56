import { z } from 'zod';
import { endsAtGateway } from '../kernel/fields.ts';

/** Without these no request could be judged or framed; what they say is the gateway's to read. */
const NEEDED: readonly string[] = [
  'host',
  'authorization',
  'dpop',
  'connection',
  'content-length',
  'content-type',
  'transfer-encoding',
  'expect',
  'te',
  'trailer',
  'upgrade',
  'sec-websocket-key',
  'sec-websocket-version',
];
const NAME = /^[a-z0-9!#$%&'+.^`|~-]{1,128}\*?$/;

const fieldName = z
  .string()
  .regex(NAME, 'expected a field name in lower case, with - and not _, or the beginning of one and * after it')
  .refine((name) => !NEEDED.some((needed) => covers(name, needed)), {
    error: 'names a field that the gateway itself needs',
  });

/** Fields of callers that are not for the upstream: of a route, and of a catalogue for every route that uses it. */
export const requestHeaders = z.strictObject({
  refuse: z
    .array(fieldName)
    .max(256)
    .default([])
    .describe(
      'Names of fields with which a request is refused (403), such as impersonate-*; a name that ends in * stands for all that begin so. In any case, and with _ for -.',
    ),
  strip: z
    .array(
      fieldName.refine((name) => name.endsWith('*') || !endsAtGateway(name), {
        error: 'this field ends at the gateway on every route',
      }),
    )
    .max(256)
    .default([])
    .describe('Names of fields that are taken away before anything judges the request.'),
});

/** Such fields, as they are written. */
export type RequestHeadersConfig = z.output<typeof requestHeaders>;

/** Whether a name as it is written in a configuration covers the name of a field. */
export function covers(written: string, name: string): boolean {
  return written.endsWith('*') ? name.startsWith(written.slice(0, -1)) : name === written;
}
