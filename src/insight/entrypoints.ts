import type { RegoEngine } from '../rego/engine_host.ts';
import { inspectPolicy } from '../rego/inspect.ts';
import { readGolden } from './golden.ts';
import type { PolicyProject } from './project.ts';

/** The rules of a folder that are annotated `entrypoint: true` or that golden cases ask, such as `sallyport/decision`, in the order of their names. */
export async function entrypointsOf(project: PolicyProject, engine: RegoEngine): Promise<readonly string[]> {
  const { annotations } = await inspectPolicy({ modules: project.modules }, engine);
  const marked = annotations.filter((found) => found.annotations.entrypoint === true).map(({ path }) => path);
  const rules = marked.map((path) => path.replace(/^data\./, '').replaceAll('.', '/'));
  const golden = (await readGolden(project)).map(({ entrypoint }) => entrypoint);
  return [...new Set([...rules, ...golden])].sort();
}
