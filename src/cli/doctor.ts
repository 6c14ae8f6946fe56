import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { diagnose, type Finding } from '../diagnosis/doctor.ts';
import { readBearerToken } from '../net/bearer_token_file.ts';

interface DoctorFlags {
  readonly tokenFile: string;
  readonly certificate?: string;
  readonly certificateKey?: string;
  readonly ca?: string;
  readonly json?: true;
}

/** `sallyport doctor URL`: what stands between callers and a deployed gateway, and what to change. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .description('look at a deployed gateway through its load balancer: each finding with what to change')
    .argument('<url>', 'what callers use, such as https://cloud.example.com')
    .requiredOption('--token-file <file>', 'the token of doctor.token_file of the gateway')
    .option('--certificate <file>', 'a client certificate (PEM), to see whether it arrives')
    .option('--certificate-key <file>', 'its private key (PEM)')
    .option('--ca <file>', 'PEM certificates that the other side must chain to, instead of those of Node.js')
    .option('--json', 'findings as JSON')
    .action(async (url: string, flags: DoctorFlags) => {
      if (!/^https?:\/\//.test(url) || !URL.canParse(url))
        throw new Error('expected a URL such as https://cloud.example.com');
      const tls = { ca: text(flags.ca), certificate: text(flags.certificate), key: text(flags.certificateKey) };
      const findings = await diagnose({ url: new URL(url), token: readBearerToken(flags.tokenFile), tls });
      for (const line of flags.json ? [JSON.stringify(findings, null, 2)] : findings.flatMap(linesOf)) {
        process.stdout.write(`${line}\n`);
      }
      process.exitCode = findings.some(({ level }) => level === 'problem') ? 1 : 0;
    });
}

function linesOf({ id, level, seen, change }: Finding): string[] {
  const words = `${level.padEnd(8)} ${id}: ${seen}`.replace(/\p{C}+/gu, ' ');
  return change === '' ? [words] : [words, `         → ${change}`];
}

function text(file: string | undefined): string | undefined {
  return file === undefined ? undefined : readFileSync(file, 'utf8');
}
