import { type Finding, ok, problem } from './findings.ts';
import { ask, doctorUrl, type Patient } from './patient.ts';

/** Other spellings of a path, each of which the gateway refuses as it stands (`request.target_ambiguous`), and what makes them the same. */
const SPELLINGS: readonly [string, (path: string) => string][] = [
  ['dot segments', (path) => path.replace('/sallyport/', '/./sallyport/')],
  ['empty segments', (path) => path.replace('/sallyport/', '//sallyport/')],
  ['encoded slashes', (path) => path.replace('/sallyport/', '%2Fsallyport/')],
];

/** Whether paths reach the gateway as callers spell them, or are put in another form before it judges them. */
export async function findRewriting(patient: Patient): Promise<Finding> {
  const { pathname } = doctorUrl(patient);
  for (const [what, spell] of SPELLINGS) {
    const path = spell(pathname);
    const { arrival } = (await ask(patient, [], path).catch(() => null)) ?? { arrival: null };
    if (arrival === null) continue;
    return problem(
      'path_normalised',
      `sent ${path}, and ${arrival.received.target} arrived: ${what} are taken out on the way, so the gateway cannot refuse them, and htu no longer agrees`,
      'Let the load balancer pass the path byte for byte (nginx: proxy_pass without a path; Envoy: normalize_path: false, merge_slashes: false, path_with_escaped_slashes_action: KEEP_UNCHANGED).',
    );
  }
  return ok(
    'path_spelling',
    'paths arrive as callers spell them: what can be read in two ways reaches the gateway so, or nobody',
  );
}
