/**
 * Builds engine/opa.wasm.br and engine/opa.json from engine/*.go, bit for bit the same on every machine with the
 * same Go version, and then engine/capabilities.json. With --check nothing is written: the build's checksum is compared
 * with engine/opa.json, and where that cannot be done (no Go, another Go version, no modules) the script says so and
 * goes on.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib';

const engineFolder = fileURLToPath(new URL('../engine/', import.meta.url));
const manifestFile = join(engineFolder, 'opa.json');
const compressedFile = join(engineFolder, 'opa.wasm.br');

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

function go(args, env = {}) {
  const settings = { GOTOOLCHAIN: 'local', GOFLAGS: '-mod=readonly', GOWORK: 'off', CGO_ENABLED: '0', ...env };
  const run = spawnSync('go', args, { cwd: engineFolder, env: { ...process.env, ...settings }, encoding: 'utf8' });
  if (run.error?.code === 'ENOENT') return undefined;
  if (run.status !== 0) throw new Error(`go ${args[0]} failed:\n${run.stderr}${run.stdout}`);
  return run.stdout.trim();
}

function compile() {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-engine-'));
  try {
    const output = join(folder, 'opa.wasm');
    // GODEBUG, GOEXPERIMENT and GOWASM of the machine would change the module.
    const env = { GOOS: 'js', GOARCH: 'wasm', GOWASM: '', GOEXPERIMENT: '', GODEBUG: '' };
    const flags = ['-tags', 'opa_no_oci', '-trimpath', '-buildvcs=false', '-ldflags', '-s -w'];
    go(['build', ...flags, '-o', output, '.'], env);
    return readFileSync(output);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function compress(wasm) {
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: 11,
    [constants.BROTLI_PARAM_LGWIN]: 24,
    [constants.BROTLI_PARAM_SIZE_HINT]: wasm.length,
  };
  return brotliCompressSync(wasm, { params });
}

function readManifest() {
  return JSON.parse(readFileSync(manifestFile, 'utf8'));
}

function build(goVersion) {
  const wasm = compile();
  const compressed = compress(wasm);
  const manifest = {
    wasm_sha256: sha256(wasm),
    brotli_sha256: sha256(compressed),
    wasm_bytes: wasm.length,
    brotli_bytes: compressed.length,
    opa: go(['list', '-m', '-f', '{{.Version}}', 'github.com/open-policy-agent/opa']),
    go: goVersion,
  };
  writeFileSync(compressedFile, compressed);
  writeFileSync(manifestFile, `${JSON.stringify(manifest, undefined, 2)}\n`);
  copyFileSync(join(go(['env', 'GOROOT']), 'lib', 'wasm', 'wasm_exec.js'), join(engineFolder, 'wasm_exec.js'));
  process.stdout.write(`engine/opa.wasm.br: OPA ${manifest.opa}, ${goVersion}, ${compressed.length} bytes\n`);
}

/** Why the module cannot be rebuilt here; undefined where it can. */
function reasonNotToRebuild(goVersion, manifest) {
  if (goVersion === undefined) return 'go is not installed';
  if (goVersion !== manifest.go) return `${goVersion} is installed, ${manifest.go} is needed`;
  try {
    go(['mod', 'download']);
    return undefined;
  } catch (error) {
    return `OPA's modules cannot be had: ${error.message.split('\n').at(1)}`;
  }
}

function check(goVersion) {
  const manifest = readManifest();
  const stored = readFileSync(compressedFile);
  const problems = [];
  if (sha256(stored) !== manifest.brotli_sha256) problems.push('engine/opa.wasm.br is not what engine/opa.json says');
  else if (sha256(brotliDecompressSync(stored)) !== manifest.wasm_sha256) {
    problems.push('engine/opa.wasm.br holds another module than engine/opa.json says');
  }
  const reason = reasonNotToRebuild(goVersion, manifest);
  if (reason !== undefined) process.stdout.write(`engine:build --check: not rebuilt: ${reason}\n`);
  else if (sha256(compile()) !== manifest.wasm_sha256) {
    problems.push('engine/*.go builds to another module than the one stored: run "npm run engine:build"');
  }
  for (const problem of problems) process.stderr.write(`engine:build --check: ${problem}\n`);
  process.exitCode = problems.length > 0 ? 1 : 0;
  if (problems.length === 0) process.stdout.write(`engine:build --check: OPA ${manifest.opa}, ${manifest.go}, ok\n`);
}

const goVersion = go(['env', 'GOVERSION']);
if (process.argv.includes('--check')) {
  check(goVersion);
} else if (goVersion === undefined) {
  process.stderr.write('engine:build: go is not installed; the stored engine/opa.wasm.br needs no build\n');
  process.exitCode = 1;
} else {
  build(goVersion);
}
// Reads --check from the command line itself.
if (process.exitCode !== 1) await import('./engine_capabilities.ts');
