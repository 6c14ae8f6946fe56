import { z } from 'zod';
import { resourceName } from './service_schema.ts';

/** Where the policy comes from and how it is taken into use. */

const path = z.string().min(1).max(4096);
const seconds = z.int().min(1).max(86_400);

const key = z.strictObject({
  id: resourceName.describe('Key id, as signatures name it (kid).'),
  algorithm: z
    .enum([
      'ES256',
      'ES384',
      'ES512',
      'PS256',
      'PS384',
      'PS512',
      'RS256',
      'RS384',
      'RS512',
      'EdDSA',
      'HS256',
      'HS384',
      'HS512',
    ])
    .describe('The one algorithm that the key verifies; what a signature says of itself must be the same.'),
  public_key_file: path
    .optional()
    .describe('PEM public key or certificate; for all algorithms but HS256 and its like.'),
  secret_file: path.optional().describe('Shared secret, for HS256, HS384 and HS512.'),
  scope: z.string().min(1).max(256).optional().describe('Scope that signatures by this key must name.'),
});

const signing = z.strictObject({
  key: resourceName
    .optional()
    .describe('Id of the only key that counts. Absent: any of policy.keys, as the signature names it.'),
  scope: z.string().min(1).max(256).optional().describe("Scope that the signature must name; goes before the key's."),
});

const polling = z
  .strictObject({
    min_seconds: seconds.default(60).describe('How long to wait between two requests at least.'),
    max_seconds: seconds.default(120).describe('How long at most; in between it is a matter of chance.'),
    long_polling_seconds: z
      .int()
      .min(1)
      .max(3600)
      .optional()
      .describe('How long the service may hold an answer back until there is something new, if it can do that.'),
  })
  .prefault({});

const service = resourceName.describe('One of services.');
const resource = z
  .string()
  .regex(/^(?!\/)(?!.*(^|\/)\.\.?(\/|$))[\x21-\x7e]{1,2048}$/, 'expected a path such as bundles/main.tar.gz')
  .refine((text) => !/[#\\]/.test(text), { error: 'expected a path such as bundles/main.tar.gz' });
const unpackedBytes = z
  .int()
  .min(1024)
  .max(1_073_741_824)
  .default(134_217_728)
  .describe('Bytes of the whole bundle once unpacked.');
const bundleBytes = z
  .int()
  .min(128)
  .max(1_073_741_824)
  .default(33_554_432)
  .describe('Bytes of the bundle as it comes.');

/** One bundle. */
export const bundle = z.strictObject({
  name: resourceName.describe('Names the bundle in records, metrics and status reports.'),
  file: path.optional().describe('A bundle.tar.gz; looked at again when it changes, where watch says so.'),
  service: service.optional(),
  resource: resource.optional().describe('Path of the bundle below the URL of the service. Absent: bundles/NAME.'),
  polling,
  signing: signing
    .optional()
    .describe('Present: the bundle must be signed; delta bundles, which cannot be, are refused.'),
  size_limit_bytes: bundleBytes,
  unpacked_limit_bytes: unpackedBytes,
});

const discovery = z.strictObject({
  service,
  resource: resource.default('discovery.tar.gz').describe('Path of the discovery bundle below the URL of the service.'),
  decision: z
    .string()
    .regex(/^[A-Za-z_]\w*([./][A-Za-z_]\w*)*$/, 'expected a path such as sallyport.discovery')
    .optional()
    .describe(
      'Path below data where the configuration stands in the discovery bundle: data, or a rule. Absent: all of data.',
    ),
  labels: z
    .record(z.string().regex(/^[A-Za-z_][\w.-]{0,63}$/, 'expected a name such as region'), z.string().max(256))
    .default({})
    .describe("What tells this gateway from others; the bundle's Rego finds them under opa.runtime().config.labels."),
  polling,
  signing: signing
    .optional()
    .describe('Present: the discovery bundle must be signed, and so must every bundle that it names.'),
});

const status = z.strictObject({
  service,
  partition: resourceName.optional().describe('Added to the path: /status/PARTITION.'),
});

/** A rule, as a path below data. */
export const entrypoint = z
  .string()
  .regex(/^[a-z_][\w]*(\/[a-z_][\w]*)+$/i, 'expected a path such as sallyport/decision');

const shadow = z
  .strictObject({
    path: path
      .optional()
      .describe('The candidate: a folder of Rego, or a bundle.tar.gz of OPA. Either this or bundles.'),
    bundles: z
      .array(bundle)
      .min(1)
      .max(100)
      .optional()
      .describe(
        'Bundles of OPA that make up the candidate together, got and verified as those of the live policy are.',
      ),
    signing: signing.optional().describe('How the bundle that path names must be signed.'),
    entrypoint: entrypoint.optional().describe('The rule that is asked. Absent: that of the live policy.'),
    data: z.array(path).default([]).describe('JSON or YAML files merged into its data, after those in the folder.'),
    sample: z
      .number()
      .gt(0)
      .max(1)
      .default(1)
      .describe('Share of the requests that it judges, chosen at random: 0.01 is one of a hundred.'),
  })
  .describe(
    'A candidate policy, asked about the same requests once they were answered. It decides nothing: where it differs from the live policy is counted and recorded.',
  );

/** The member `policy` of the configuration. */
export const policy = z.strictObject({
  path: path.optional().describe('A folder of Rego, or a bundle.tar.gz of OPA. Either this, or bundles, or discovery.'),
  bundles: z
    .array(bundle)
    .min(1)
    .max(100)
    .optional()
    .describe('Bundles of OPA that make up the policy together; no two may own the same part of data.'),
  discovery: discovery.optional().describe('A bundle that says which bundles there are, in the form of OPA.'),
  signing: signing.optional().describe('How the bundle that path names must be signed.'),
  keys: z.array(key).default([]).describe('Keys that bundles may be signed with.'),
  rollback: z
    .enum(['refuse', 'allow'])
    .default('refuse')
    .describe('Whether a bundle may take the place of a newer one. Forced once by the admin port, or for good here.'),
  persistence_folder: path
    .optional()
    .describe('Folder where bundles of services are kept, so that a restart works without the service.'),
  start_timeout_seconds: seconds
    .default(60)
    .describe('How long a start waits for bundles that no service has given and that are not kept.'),
  status: status.optional().describe('Where it is reported which bundles are in use (OPA status API).'),
  entrypoint: entrypoint.default('sallyport/decision').describe('The rule that is asked, as a path below data.'),
  data: z
    .array(path)
    .default([])
    .describe('JSON or YAML files merged into data, after those in the folder or bundles.'),
  push: z
    .boolean()
    .default(false)
    .describe(
      "Let the holder of admin.api_token_file push Rego and data through the admin port, as OPAL does (OPA's REST API); path is the folder that it begins with, and is not watched.",
    ),
  watch: z.boolean().default(true).describe('Rebuild when a file changes; SIGHUP always does.'),
  shadow: shadow.optional(),
});

/** Where the policy comes from. */
export type PolicyConfig = z.output<typeof policy>;
/** One bundle of the policy. */
export type BundleConfig = z.output<typeof bundle>;
/** Where the names of bundles come from. */
export type DiscoveryConfig = z.output<typeof discovery>;
/** The candidate policy. */
export type ShadowConfig = z.output<typeof shadow>;
/** How a bundle must be signed. */
export type BundleSigningConfig = z.output<typeof signing>;
/** A key that verifies signatures. */
export type BundleKeyConfig = z.output<typeof key>;
/** When a service is asked. */
export type PollingConfig = z.output<typeof polling>;
/** The bundle that `policy.path` names when it is a file. */
export function fileBundle(path: string, signed?: BundleSigningConfig): BundleConfig {
  return bundle.parse({ name: 'policy', file: path, ...(signed === undefined ? {} : { signing: signed }) });
}
