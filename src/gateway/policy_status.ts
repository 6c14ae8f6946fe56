import type { BundleState } from '../bundle/state.ts';
import { packageVersion } from './version.ts';

/** What a control plane is told of the bundles (OPA status API). */
export function statusReport(states: readonly BundleState[]): object {
  const ready = states.every(({ revision }) => revision !== null);
  return {
    labels: { app: 'sallyport', version: packageVersion() },
    bundles: Object.fromEntries(states.map((state) => [state.name, bundleStatus(state)])),
    plugins: { bundle: { state: ready ? 'OK' : 'NOT_READY' } },
  };
}

function bundleStatus(state: BundleState): object {
  const { name, revision, problem, httpStatus, type, size } = state;
  return {
    name,
    type,
    size,
    ...(revision === null ? {} : { active_revision: revision }),
    ...timeMember('last_request', state.lastRequest),
    ...timeMember('last_successful_request', state.lastSuccessfulRequest),
    ...timeMember('last_successful_download', state.lastDownload),
    ...timeMember('last_successful_activation', state.lastActivation),
    ...(problem === null ? {} : { code: 'bundle_error', message: problem }),
    ...(httpStatus === 0 || httpStatus === 200 || httpStatus === 304 ? {} : { http_code: String(httpStatus) }),
  };
}

function timeMember(name: string, milliseconds: number | null): object {
  return milliseconds === null ? {} : { [name]: new Date(milliseconds).toISOString() };
}
