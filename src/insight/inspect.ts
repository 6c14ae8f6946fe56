import type { RegoEngine } from '../rego/engine_host.ts';
import { inspectPolicy } from '../rego/inspect.ts';
import { type Finding, withHint } from './check.ts';
import type { PolicyProject } from './project.ts';

/** What is in a folder of policies, tests left out. */
export interface PolicyContents {
  /** In the order of their names. */
  readonly packages: readonly PackageContents[];
  /** Members at the top of the data. */
  readonly data: readonly string[];
  /** All built-in functions that are called. */
  readonly builtins: readonly string[];
  /** What is wrong; a function that compiled policies do not have is among it. */
  readonly findings: readonly Finding[];
}

/** One package, which may lie in several files. */
export interface PackageContents {
  /** Such as `sallyport`. */
  readonly name: string;
  readonly title?: string;
  readonly files: readonly string[];
  readonly rules: readonly RuleContents[];
}

/** What a package defines under one name, by however many rules. */
export interface RuleContents {
  readonly name: string;
  readonly title?: string;
  readonly entrypoint?: boolean;
  readonly function?: boolean;
  readonly default?: boolean;
}

/** Lists packages, rules, titles, data and built-in functions of a folder. */
export async function inspectProject({ modules, data }: PolicyProject, engine: RegoEngine): Promise<PolicyContents> {
  const {
    modules: inspected,
    annotations,
    builtins,
    diagnostics = [],
  } = await inspectPolicy({ modules, data }, engine);
  const annotated = new Map(annotations.map((found) => [found.path, found.annotations]));
  const byPackage = Map.groupBy(inspected, (module) => module.package);
  const packages = [...byPackage].map(([path, files]): PackageContents => {
    const byName = Map.groupBy(
      files.flatMap(({ rules }) => rules),
      (rule) => rule.path,
    );
    const rules = [...byName].map(([rulePath, parts]): RuleContents => {
      const notes = annotated.get(rulePath);
      return {
        name: rulePath.slice(path.length + 1),
        ...(notes?.title === undefined ? {} : { title: notes.title }),
        ...(notes?.entrypoint === true ? { entrypoint: true } : {}),
        ...(parts.some((part) => part.function) ? { function: true } : {}),
        ...(parts.some((part) => part.default) ? { default: true } : {}),
      };
    });
    const title = annotated.get(path)?.title;
    return {
      name: path.replace(/^data\./, ''),
      ...(title === undefined ? {} : { title }),
      files: files.map((file) => file.path),
      rules,
    };
  });
  packages.sort((a, b) => (a.name < b.name ? -1 : 1));
  return { packages, data: Object.keys(data).sort(), builtins, findings: diagnostics.map(withHint) };
}
