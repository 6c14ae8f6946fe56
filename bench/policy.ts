/**
 * What authors of policies wait for, and what an evaluation costs: `npm run bench:policy`. Writes docs/benchmarks_policy.md. Takes about
 * two minutes, uses files in a temporary folder only, and leaves nothing running.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { copyStarter } from '../src/insight/starter.ts';
import { makeArtifact } from '../src/policy/artifact.ts';
import { PolicyEngine } from '../src/policy/engine.ts';
import { readPolicyFolder } from '../src/policy/folder.ts';
import { largeSample, SAMPLE_INPUT } from '../src/policy/sample.ts';
import { buildPolicy } from '../src/rego/build.ts';
import { RegoEngine } from '../src/rego/engine_host.ts';

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url));
const PAGE = new URL('../docs/benchmarks_policy.md', import.meta.url);
const ROUNDS = 7;
const EVALUATIONS = 1_000_000;

const root = mkdtempSync(join(tmpdir(), 'sallyport-bench-policy-'));
const folder = join(root, 'policy');

function sallyport(...argv: string[]): ChildProcess {
  return spawn(process.execPath, [MAIN, 'policy', ...argv], { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** Milliseconds of one run of a command, from its start to its end. */
function timeOf(...argv: string[]): Promise<number> {
  const started = performance.now();
  return new Promise((resolve, reject) => {
    sallyport(...argv).once('exit', (code) =>
      code === 0 ? resolve(performance.now() - started) : reject(new Error(`${argv.join(' ')} ended with ${code}`)),
    );
  });
}

/** Milliseconds from a change of a file to the answer, in a command that watches. */
async function timesOfChanges(command: string, file: string): Promise<number[]> {
  const watching = sallyport(command, folder, '--watch');
  let answers = 0;
  let told: () => void = () => undefined;
  watching.stderr?.on('data', (text: Buffer) => {
    answers += text.toString().split('waiting for changes').length - 1;
    told();
  });
  const answer = async (number: number) => {
    while (answers < number) {
      await new Promise<void>((resolve, reject) => {
        const late = setTimeout(() => reject(new Error(`${command} --watch does not answer`)), 60_000);
        told = () => {
          clearTimeout(late);
          resolve();
        };
      });
    }
  };
  const times: number[] = [];
  try {
    await answer(1);
    const text = readFileSync(file, 'utf8');
    for (let round = 0; round < ROUNDS; round++) {
      const before = answers;
      const started = performance.now();
      writeFileSync(file, `${text}\n# round ${round}\n`);
      await answer(before + 1);
      times.push(performance.now() - started);
    }
  } finally {
    watching.kill('SIGTERM');
  }
  return times;
}

async function repeat(measure: () => Promise<number>): Promise<number[]> {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) times.push(await measure());
  return times;
}

/** Of the compiled policy: microseconds for each evaluation, and bytes of its memory at the beginning and the end of a million of mixed sizes. */
async function evaluations(): Promise<{ micros: number; first: number; last: number; largest: number }> {
  const { modules, data } = await readPolicyFolder(folder, []);
  const opa = new RegoEngine();
  const built = await buildPolicy({ modules, entrypoints: ['sallyport/decision'] }, opa);
  await opa.close();
  if (!built.ok) throw new Error(JSON.stringify(built.diagnostics));
  const engine = await PolicyEngine.load(makeArtifact({ wasm: built.wasm, data, entrypoint: 'sallyport/decision' }));
  const usual = JSON.stringify(SAMPLE_INPUT);
  const large = JSON.stringify(largeSample());
  engine.evaluate(usual, 0);
  const first = engine.memoryBytes;
  let largest = first;
  const cpu = process.cpuUsage();
  for (let i = 0; i < EVALUATIONS; i++) {
    // One of a thousand is large: they would take all of the time otherwise.
    engine.evaluate(i % 1000 === 999 ? large : usual, 0);
    if (i % 1000 === 0) largest = Math.max(largest, engine.memoryBytes);
  }
  const { user, system } = process.cpuUsage(cpu);
  return { micros: (user + system) / EVALUATIONS, first, last: engine.memoryBytes, largest };
}

function row(name: string, times: readonly number[], bound: string): string {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (index: number) => `${Math.round(sorted[index] ?? Number.NaN)} ms`;
  return `| ${name} | ${at(sorted.length >> 1)} | ${at(0)} | ${at(sorted.length - 1)} | ${bound} |`;
}

const mebibytes = (bytes: number) => `${(bytes / 1_048_576).toFixed(1)} MiB`;

try {
  await copyStarter(folder, 'aws');
  const rego = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(
    (name) => name.endsWith('.rego') && !name.endsWith('_test.rego'),
  );
  const lines = rego.reduce((sum, name) => sum + readFileSync(join(folder, name), 'utf8').split('\n').length, 0);
  const edited = join(folder, 'starter/decision.rego');
  const cold = await repeat(() => timeOf('check', folder));
  const build = await repeat(() => timeOf('build', folder, '--output', join(root, 'bundle.tar.gz')));
  const warm = await timesOfChanges('check', edited);
  const tests = await timesOfChanges('test', edited);
  const { micros, first, last, largest } = await evaluations();
  const machine = `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Node.js ${process.versions.node}`;
  writeFileSync(
    PAGE,
    `<!-- Written by bench/policy.ts: npm run bench:policy. -->
# Working on policies

${machine}. The policy is the starter for \`aws\`: ${lines} lines of Rego in ${rego.length} modules, with its tests. ${ROUNDS} rounds each; wall time, so a busy machine shows.

| what | median | least | most | aim |
|---|---|---|---|---|
${row('`policy check` from a cold start, the start of Node.js included', cold, 'under 2,000 ms')}
${row('`policy build` from a cold start', build, '')}
${row('`policy check --watch`: from saving a file to the answer', warm, 'under 500 ms')}
${row('`policy test --watch`: the same, every test in both evaluators', tests, '')}

The wait for files to rest after a change (100 ms) is in the last two.

${EVALUATIONS.toLocaleString('en')} evaluations of the compiled policy, one of a thousand with a token of ${JSON.stringify(largeSample()).length.toLocaleString('en')} bytes: ${micros.toFixed(1)} µs of processor time each. Memory of the
instance: ${mebibytes(first)} at first, ${mebibytes(last)} at last, never more than ${mebibytes(largest)}.
`,
  );
  process.stdout.write(readFileSync(PAGE, 'utf8'));
} finally {
  rmSync(root, { recursive: true, force: true });
}
