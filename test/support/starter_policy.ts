import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { buildConfiguredPolicy } from '../../src/gateway/policy_build.ts';
import type { PolicyArtifact } from '../../src/policy/artifact.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const KEPT = join(ROOT, 'node_modules/.cache/sallyport-tests');
/** Whatever the compiled policy depends on. */
const SOURCES = ['policies', 'engine', 'src/rego', 'src/policy', 'src/gateway/policy_build.ts', 'package-lock.json'];

let compiled: Promise<PolicyArtifact> | undefined;

/**
 * The starter policy, compiled. Compiling takes seconds and many test files need it, so it is kept between them, under a digest of
 * everything that it is made of and with.
 */
export function starterPolicy(): Promise<PolicyArtifact> {
  compiled ??= findOrCompile();
  return compiled;
}

async function findOrCompile(): Promise<PolicyArtifact> {
  const file = join(KEPT, digestOf(SOURCES.map((name) => join(ROOT, name))));
  try {
    return deserialize(readFileSync(file)) as PolicyArtifact;
  } catch {
    const artifact = await buildConfiguredPolicy({
      path: join(ROOT, 'policies'),
      entrypoint: 'sallyport/decision',
      data: [],
    });
    mkdirSync(KEPT, { recursive: true });
    const draft = `${file}.${process.pid}`;
    writeFileSync(draft, serialize(artifact));
    renameSync(draft, file);
    return artifact;
  }
}

function digestOf(paths: readonly string[]): string {
  const hash = createHash('sha256');
  for (const file of paths.flatMap(filesAt)) {
    const bytes = readFileSync(file);
    hash.update(`${file} ${bytes.length}:`).update(bytes);
  }
  return hash.digest('hex');
}

function filesAt(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path)
    .sort()
    .flatMap((name) => filesAt(join(path, name)));
}
