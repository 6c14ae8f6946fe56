import type { SettingProblem } from './problems.ts';
import type { ServiceConfig } from './service_schema.ts';

interface SinkRulesInput {
  readonly type: string;
  readonly url?: string | undefined;
  readonly service?: string | undefined;
}

/** What of the sinks for records does not fit together. */
export function findSinkProblems(
  sinks: readonly SinkRulesInput[],
  services: readonly ServiceConfig[],
): SettingProblem[] {
  return sinks.flatMap(({ type, url, service }, index) => {
    if (type !== 'opa') return [];
    const at = (key: string, message: string) => [{ path: ['audit', 'sinks', index, key], message }];
    if ((url === undefined) === (service === undefined)) return at('url', 'give either url or service');
    if (service !== undefined && !services.some(({ name }) => name === service)) {
      return at('service', `there is no service ${service}: name one of services`);
    }
    const plain =
      url?.startsWith('http://') === true && !/^http:\/\/(localhost|\[::1\]|127\.\d+\.\d+\.\d+)([:/]|$)/.test(url);
    return plain
      ? at('url', 'records say who did what, so they go over https; or name a service with allow_insecure')
      : [];
  });
}
