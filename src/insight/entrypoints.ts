import type { RegoEngine } from '../rego/engine_host.ts';
import { inspectPolicy } from '../rego/inspect.ts';
import type { PolicyProject } from './project.ts';

/** The rules of a folder that are annotated `entrypoint: true`, such as `sallyport/decision`, in the order of their names. */
export async function entrypointsOf({ modules }: PolicyProject, engine: RegoEngine): Promise<readonly string[]> {
  const { annotations } = await inspectPolicy({ modules }, engine);
  const marked = annotations.filter((found) => found.annotations.entrypoint === true).map(({ path }) => path);
  return [...new Set(marked)].map((path) => path.replace(/^data\./, '').replaceAll('.', '/')).sort();
}
