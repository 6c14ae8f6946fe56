import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';

/** The machine and the versions of what was measured, as lines of Markdown. */
export function describeMachine(): string[] {
  const versions = [
    `Node.js ${process.version}`,
    first('nginx', ['-v']),
    first('apache2', ['-v']),
    `libapache2-mod-oauth2 ${first('dpkg-query', ['-W', '-f', '${Version}', 'libapache2-mod-oauth2'])}`,
    first('redis-server', ['--version']).split(' ').slice(0, 3).join(' '),
    first('openssl', ['version']),
    `undici ${packageVersion('undici')}`,
    `http-proxy ${packageVersion('http-proxy')}`,
  ];
  const gigabytes = Math.round(totalmem() / 2 ** 30);
  return [
    `- ${cpus().length} cores (${cpus()[0]?.model.trim()}), ${gigabytes} GB, Linux ${release()}; load average at the end ${loadavg()[0]?.toFixed(1)}`,
    `- ${versions.join('; ')}`,
  ];
}

/** Microseconds that openssl takes to verify one ES256 signature, on the first core. */
export function verifyCostUs(): number {
  const { stdout } = spawnSync('taskset', ['-c', '0', 'openssl', 'speed', '-mr', '-seconds', '1', 'ecdsap256'], {
    encoding: 'utf8',
  });
  // +F4:number:bits:seconds to sign:seconds to verify, or rates, by the version.
  const fields = /^\+F\d+:(.*)$/m.exec(stdout)?.[1]?.split(':').map(Number) ?? [];
  const verify = fields[3] ?? Number.NaN;
  return verify > 1 ? 1_000_000 / verify : verify * 1_000_000;
}

function first(command: string, args: string[]): string {
  const { stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  return `${stdout}${stderr}`.split('\n')[0]?.trim() ?? '';
}

function packageVersion(name: string): string {
  const file = new URL(`../node_modules/${name}/package.json`, import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
