import { parseGatewayConfig } from '../../src/config/load.ts';
import type { GatewayConfig } from '../../src/config/schema.ts';
import { type PolicySource, startPolicy } from '../../src/gateway/policy_source.ts';
import { SAMPLE_INPUT } from '../../src/policy/sample.ts';
import { createLog, type Log } from '../../src/telemetry/log.ts';

/** What a log said, line by line. */
export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly why?: string;
  readonly [member: string]: unknown;
}

/** A policy of the configuration, without the rest of a gateway. */
export interface TestPolicy {
  readonly source: PolicySource;
  readonly lines: LogLine[];
  /** Whether the policy in force allows the sample request. */
  allows(): boolean;
  close(): Promise<void>;
}

/** A configuration with only the settings of the policy; `top` is merged at its top. */
export function policyConfig(policy: object, top: object = {}, folder = '/'): GatewayConfig {
  const route = {
    name: 'r',
    path_prefix: '/',
    upstream: { url: 'http://127.0.0.1:1' },
    resource: 'https://c.example.com',
  };
  const issuers = [{ issuer: 'https://as.example.com' }];
  return parseGatewayConfig({ version: 1, issuers, routes: [route], policy, ...top }, folder);
}

/** Starts the part of a gateway that gets its policy and renews it. */
export async function startTestPolicy(policy: object, top: object = {}, folder = '/'): Promise<TestPolicy> {
  const lines: LogLine[] = [];
  const log: Log = createLog({ level: 'info', destination: { write: (line) => lines.push(JSON.parse(line)) } });
  const source = await startPolicy(policyConfig(policy, top, folder), { clock: Date.now, log });
  return {
    source,
    lines,
    allows: () => {
      const [answer] = source.holder.live().evaluate(JSON.stringify(SAMPLE_INPUT), Date.now());
      return (answer as { allow: boolean } | undefined)?.allow === true;
    },
    close: () => source.close(),
  };
}
