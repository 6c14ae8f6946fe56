import type {
  BundleConfig,
  BundleSigningConfig,
  DiscoveryConfig,
  PolicyConfig,
  PollingConfig,
  ShadowConfig,
} from './policy_schema.ts';
import type { SettingProblem } from './problems.ts';
import type { ServiceConfig } from './service_schema.ts';

type Place = readonly (string | number)[];
type Report = (place: Place, message: string) => void;

/** What a policy, or a candidate, may be made of. */
type Origins = Pick<ShadowConfig, 'path' | 'bundles' | 'signing'> & {
  readonly discovery?: DiscoveryConfig | undefined;
};

/** Something that is got from a service. */
interface User {
  readonly place: Place;
  readonly service?: string | undefined;
  readonly polling?: PollingConfig;
  readonly signing?: BundleSigningConfig | undefined;
}

/** What of the policy's settings does not fit together. */
export function findPolicyProblems(config: PolicyConfig, services: readonly ServiceConfig[]): SettingProblem[] {
  const problems: SettingProblem[] = [];
  const report: Report = (place, message) => problems.push({ path: ['policy', ...place], message });
  checkKeys(config, report);
  if (config.push && config.path === undefined) report(['push'], 'needs path: the folder that it begins with');
  const status: User[] = config.status === undefined ? [] : [{ place: ['status'], service: config.status.service }];
  const users = [...checkOrigins(config, [], report), ...status];
  if (config.shadow !== undefined) users.push(...checkOrigins(config.shadow, ['shadow'], report));
  for (const user of users) checkUser(user, { config, services }, report);
  return problems;
}

/** @returns what is got from services, or signed */
function checkOrigins({ path, bundles = [], discovery, signing }: Origins, place: Place, report: Report): User[] {
  if ([path, bundles[0], discovery].filter((value) => value !== undefined).length !== 1) {
    const known = place.length === 0 ? 'path, bundles and discovery' : 'path and bundles';
    report(place, `say where the ${place.length === 0 ? 'policy' : 'candidate'} comes from: exactly one of ${known}`);
  }
  if (signing !== undefined && path === undefined) {
    report([...place, 'signing'], 'is for the bundle that path names; others have their own');
  }
  for (const [index, entry] of bundles.entries()) {
    checkBundle(entry, bundles, (key, message) => report([...place, 'bundles', index, ...key], message));
  }
  return [
    { place, signing },
    ...bundles.map((entry, index) => ({ place: [...place, 'bundles', index], ...entry })),
    ...(discovery === undefined ? [] : [{ place: [...place, 'discovery'], ...discovery }]),
  ];
}

function checkBundle(entry: BundleConfig, all: readonly BundleConfig[], report: Report): void {
  if (all.find(({ name }) => name.toLowerCase() === entry.name.toLowerCase()) !== entry)
    report(['name'], 'this name is used twice');
  if ((entry.file === undefined) === (entry.service === undefined)) report(['file'], 'give either file or service');
  if (entry.file !== undefined && entry.resource !== undefined) report(['resource'], 'is for bundles of a service');
}

function checkUser(
  { place, service, polling, signing }: User,
  { config, services }: { readonly config: PolicyConfig; readonly services: readonly ServiceConfig[] },
  report: Report,
): void {
  if (service !== undefined && !services.some(({ name }) => name === service)) {
    report([...place, 'service'], `there is no service ${service}: name one of services`);
  }
  if (polling !== undefined && polling.min_seconds > polling.max_seconds) {
    report([...place, 'polling', 'min_seconds'], 'is more than max_seconds');
  }
  if (signing === undefined) return;
  if (config.keys.length === 0) {
    report([...place, 'signing'], 'needs policy.keys: without a key no signature can be verified');
  } else if (signing.key !== undefined && !config.keys.some(({ id }) => id === signing.key)) {
    report([...place, 'signing', 'key'], `there is no key ${signing.key}: name one of policy.keys`);
  }
}

function checkKeys({ keys }: PolicyConfig, report: Report): void {
  for (const [index, entry] of keys.entries()) {
    const secret = entry.algorithm.startsWith('HS');
    if (keys.findIndex(({ id }) => id === entry.id) !== index) report(['keys', index, 'id'], 'this id is used twice');
    if (secret !== (entry.secret_file !== undefined) || secret === (entry.public_key_file !== undefined)) {
      report(
        ['keys', index, secret ? 'secret_file' : 'public_key_file'],
        `${entry.algorithm} needs this, and only this`,
      );
    }
  }
}
