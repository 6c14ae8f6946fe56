import { type AdminView, startAdmin } from '../admin/admin.ts';
import type { GatewayConfig } from '../config/schema.ts';
import { startEndedKeys } from '../ended_jobs/create.ts';
import type { EndedKey, EndedKeys } from '../ended_jobs/ended_keys.ts';
import type { PolicyArtifact } from '../policy/artifact.ts';
import { newNonceSecret } from '../proof/nonce_secrets.ts';
import type { Log } from '../telemetry/log.ts';
import { aggregateMetrics, createMetrics, type MetricsSnapshot } from '../telemetry/metrics.ts';

import { endedJobsApi, endedJobsPort } from './ended_jobs_api.ts';
import { decisionsApi } from './explain.ts';
import { type PolicySource, startPolicy } from './policy_source.ts';

import type { Running } from './processes.ts';
import { endedJobsChecks, policyCheck, type Readiness, shadowCheck } from './readiness.ts';
import type { Shadow } from './shadow.ts';
import { sendShadow } from './shadow_source.ts';
import { packageVersion } from './version.ts';
import { Workers } from './workers.ts';

/**
 * Starts `count` workers that share one port. This process compiles the policy once for all of them, replaces a worker that ends,
 * and serves one admin port for the whole.
 * @throws Error when the policy or the first workers cannot start
 */
export async function startPrimary(config: GatewayConfig, count: number, log: Log): Promise<Running> {
  const compiled = await startPolicy(config, { clock: Date.now, log });
  const policy = compiled.holder;
  const nonceSecret = newNonceSecret();
  const endedKeys = await startEndedKeys(config, Date.now).catch(async (error: unknown) => {
    await compiled.close();
    throw error;
  });
  let candidate: PolicyArtifact | null = null;
  const artifact = () => policy.live().artifact;
  const workers = new Workers({
    config,
    count,
    log,
    nonceSecret,
    artifact,
    shadow: () => candidate,
    endedKeys: () => endedKeys?.list() ?? [],
  });
  policy.onReplaced(() => workers.tell({ kind: 'policy', artifact: artifact() }));
  const shadow = sendShadow({ config, clock: Date.now, log }, (next) => {
    candidate = next;
    workers.tell({ kind: 'shadow', artifact: next });
  });
  try {
    const { origin, listening } = await workers.start();
    const admin = await startAdmin(
      config.admin,
      adminView({ workers, count, source: compiled, shadow: shadow?.shadow ?? null, endedKeys, origin, listening }),
      log,
    );
    return {
      origin,
      listening,
      adminOrigin: admin.origin,
      reload: async () => {
        workers.tell({ kind: 'reopen' });
        await Promise.all([compiled.rebuild(), shadow?.rebuild()]);
      },
      close: async () => {
        await compiled.close();
        await shadow?.close();
        const whole = await workers.stop(config.limits.stop_grace_ms);
        await admin.close();
        await endedKeys?.close();
        return whole;
      },
    };
  } catch (error) {
    await compiled.close();
    await shadow?.close();
    await workers.stop(0);
    await endedKeys?.close();
    throw error;
  }
}

interface Seen {
  readonly workers: Workers;
  readonly count: number;
  readonly source: PolicySource;
  readonly shadow: Shadow | null;
  readonly endedKeys: EndedKeys | null;
  readonly origin: string;
  readonly listening: string;
}

function adminView({ workers, count, source, shadow, endedKeys, origin, listening }: Seen): AdminView {
  const { holder: policy, bundles } = source;
  const own = createMetrics({
    version: packageVersion(),
    sources: {
      policy: () => policy.status(),
      ...(shadow === null ? {} : { shadow: () => shadow.status() }),
      workers: () => workers.state(),
      ...(bundles === undefined ? {} : { bundles }),
    },
  });
  const endEverywhere = async (keys: readonly EndedKey[]) => {
    // The primary first: a worker that starts from now on knows them from it.
    await endedKeys?.end(keys);
    if (!(await workers.endKeys(keys))) throw new Error('not every process of the gateway has answered');
  };
  return {
    live: () => true,
    ready: async () => {
      const answers = await workers.ask<Readiness>('readiness');
      const failing = answers.flatMap((answer) => answer.checks.filter((check) => !check.ok));
      const checks = [
        { name: 'workers', ok: answers.length === count, detail: `${answers.length} of ${count} answer` },
        ...endedJobsChecks(endedKeys),
        policyCheck(policy),
        ...(shadow === null ? [] : [shadowCheck(shadow)]),
        ...failing,
      ];
      return { ready: checks.every((check) => check.ok), origin, listening, checks };
    },
    metrics: async () => aggregateMetrics([await own.snapshot(), ...(await workers.ask<MetricsSnapshot>('metrics'))]),
    api: {
      ...(endedKeys !== null && endedJobsApi(endedJobsPort(endedKeys, Date.now, endEverywhere))),
      ...decisionsApi((id) => workers.findDecision(id)),
      ...source.api,
    },
  };
}
