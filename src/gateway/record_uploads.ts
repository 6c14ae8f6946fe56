import type { UploadParts } from '../audit/sink_upload.ts';
import type { GatewayConfig } from '../config/schema.ts';
import type { ServiceConfig } from '../config/service_schema.ts';
import { createService, type Service } from '../control_plane/service.ts';
import type { Clock } from '../kernel/clock.ts';
import type { LoadedPolicy } from '../policy/load.ts';

/** Bytes of an answer to an upload: nothing of it is used. */
const ANSWER_LIMIT_BYTES = 65_536;

/** How records get to control planes (OPA decision log API), and what the policy in force says of them. */
export function recordUploads(config: GatewayConfig, clock: Clock, live: () => LoadedPolicy | null): UploadParts {
  return {
    clock,
    open: (index) => {
      const sink = config.audit.sinks[index];
      if (sink?.type !== 'opa') throw new Error(`audit.sinks[${index}] is no sink of the type opa`);
      const service = createService(serviceOf(sink.service, sink.url, config.services), clock);
      const path = sink.partition === undefined ? 'logs' : `logs/${sink.partition}`;
      return { send: (body) => upload(service, path, body), close: () => service.close() };
    },
    ask: (rule, event, nowMs) => {
      const policy = live();
      if (policy === null) throw new Error('there is no policy yet');
      return policy.evaluateRule?.(rule, event, nowMs) ?? null;
    },
  };
}

function serviceOf(
  name: string | undefined,
  url: string | undefined,
  services: readonly ServiceConfig[],
): ServiceConfig {
  const named = services.find((service) => service.name === name);
  return named ?? { name: 'records', url: url ?? '', timeout_ms: 10_000, allow_insecure: false };
}

async function upload(service: Service, path: string, body: Uint8Array): Promise<Error | null> {
  const headers = { 'content-type': 'application/json', 'content-encoding': 'gzip' };
  const answer = await service.send({ method: 'POST', path, headers, body, maxBytes: ANSWER_LIMIT_BYTES });
  if (!answer.ok) return new Error(`${service.urlOf(path)} ${answer.problem}`);
  const taken = answer.status >= 200 && answer.status < 300;
  return taken ? null : new Error(`${service.urlOf(path)} answered with status ${answer.status}`);
}
