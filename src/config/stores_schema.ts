import { z } from 'zod';
import { file, port } from './values.ts';

/** Where Redis is, and how it is used. */
export const redis = z.strictObject({
  url: z
    .string()
    .regex(
      /^rediss?:\/\/([^\s/@?#]*@)?[^\s/@?#]+(\/\d{0,3})?$/,
      'expected redis://host:port or rediss://host:port, at most with a database number after it such as /0',
    )
    .optional()
    .describe('A single node.'),
  sentinels: z
    .array(z.strictObject({ host: z.string().min(1), port: port.default(26_379) }))
    .min(1)
    .optional()
    .describe('Sentinel nodes; needs name.'),
  name: z.string().min(1).optional().describe('Name of the master that the sentinels watch.'),
  cluster: z
    .array(z.strictObject({ host: z.string().min(1), port: port.default(6379) }))
    .min(1)
    .optional()
    .describe('Start nodes of a Redis Cluster.'),
  tls: z
    .strictObject({
      ca_file: file.optional(),
      certificate_file: file.optional(),
      key_file: file.optional(),
      server_name: z.string().optional(),
    })
    .optional()
    .describe('TLS to Redis; its certificate is always verified.'),
  username: z.string().min(1).optional().describe('ACL user.'),
  password_file: file.optional().describe('File with the password.'),
  command_timeout_ms: z
    .int()
    .min(10)
    .max(10_000)
    .default(250)
    .describe('After this, the claim on a proof is refused with 503.'),
  key_prefix: z.string().max(64).default('sallyport:').describe('Start of every key that is written.'),
  allow_eviction: z
    .boolean()
    .default(false)
    .describe('Start although Redis may evict keys, which lets a replay pass. Not for production.'),
});

/** How tokens of ended jobs are refused. */
export const endedJobs = z.strictObject({
  store: z
    .enum(['memory', 'redis'])
    .describe(
      'Where the keys of ended jobs come from. memory: POST /ended-jobs of the admin port, for one gateway with all its processes. redis: what any gateway or broker wrote there; every gateway has it within a second.',
    ),
  redis: redis.optional().describe('Absent: that of replay.redis.'),
  state_file: file
    .optional()
    .describe('With store: memory: where the list is kept, so that it survives a restart. Absent: it does not.'),
  limit: z
    .int()
    .min(100)
    .max(5_000_000)
    .default(200_000)
    .describe(
      'Keys whose tokens have not expired, at most. When full, no more can be ended, and with Redis no token is taken that is not known to be ended.',
    ),
  poll_ms: z
    .int()
    .min(50)
    .max(1000)
    .default(250)
    .describe('How often Redis is asked what is new, beside what it tells by itself.'),
  max_stale_ms: z
    .int()
    .min(250)
    .max(60_000)
    .default(1000)
    .describe(
      'How old the last answer of Redis may be; then requests are refused with 503 until it answers. More than 1000: a job that ended may be served for longer than a second while Redis is away.',
    ),
});

/** Where used proofs are remembered. */
export const replay = z.strictObject({
  store: z
    .enum(['memory', 'redis'])
    .default('memory')
    .describe('Where used proofs are remembered; memory serves one process.'),
  redis: redis.optional(),
  memory_limit: z
    .int()
    .min(1000)
    .max(50_000_000)
    .default(2_000_000)
    .describe('Proofs the memory store holds; when full, new proofs are refused with 503, never old ones forgotten.'),
});
