import type { Finding } from './findings.ts';
import { findBuffering, findHeaderLimit, findWebSocket } from './limits.ts';
import type { Patient } from './patient.ts';
import { findRewriting } from './spelling.ts';
import { compareClocks, compareCredentials, compareTls, compareUrls, findGateway } from './way_in.ts';

export type { Finding } from './findings.ts';
export type { Patient } from './patient.ts';

/**
 * Looks at a deployed gateway through whatever stands in front of it. Bounded: some twenty requests of at most ten seconds each.
 * @returns findings in the order in which a request would meet them
 */
export async function diagnose(patient: Patient): Promise<Finding[]> {
  const found = await findGateway(patient);
  if ('level' in found) return [found];
  return [
    ...compareUrls(patient, found),
    await findRewriting(patient),
    ...compareTls(patient, found),
    ...(await compareCredentials(patient)),
    await findHeaderLimit(patient, found),
    await compareClocks(patient),
    await findWebSocket(patient, found),
    ...(await findBuffering(patient)),
  ];
}
