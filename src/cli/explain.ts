import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import type { JWK } from 'jose';
import { type Asker, askDecision, explanationLines } from '../diagnosis/explain.ts';
import { readBearerToken } from '../net/bearer_token_file.ts';
import { importSigningKey } from '../oauth/signing_key.ts';
import { parseJsonObject } from '../oauth/strict_json.ts';

interface ExplainFlags {
  readonly gateway?: string;
  readonly key?: string;
  readonly certificate?: string;
  readonly certificateKey?: string;
  readonly admin?: string;
  readonly tokenFile?: string;
  readonly ca?: string;
  readonly state: string;
  readonly json?: true;
}

/** `sallyport explain DECISION_ID`: why a request was refused or allowed, for the holder of its key or for the operator. */
export function explainCommand(): Command {
  return new Command('explain')
    .description('why a request was refused or allowed: for the holder of the key it came with, or for the operator')
    .argument('<decision>', 'decision_id of an answer')
    .option('--gateway <origin>', 'origin of the gateway; with --key or --certificate')
    .option('--key <file>', 'private JWK of the job')
    .option('--certificate <file>', 'client certificate of the job (PEM), with --certificate-key')
    .option('--certificate-key <file>', 'its private key (PEM)')
    .option('--admin <origin>', 'ask the admin port as operator, with --token-file')
    .option('--token-file <file>', 'the token of admin.api_token_file')
    .option('--ca <file>', 'PEM certificates that the gateway must chain to, instead of those of Node.js')
    .option('--state <folder>', 'without any of these: the gateway and the key of the running demo', '.sallyport')
    .option('--json', 'the answer as it came')
    .action(async (decision: string, flags: ExplainFlags) => {
      const explanation = await askDecision(decision, await askerOf(flags), Date.now);
      const lines = flags.json ? [JSON.stringify(explanation, null, 2)] : explanationLines(explanation);
      for (const line of lines) process.stdout.write(`${line}\n`);
    });
}

async function askerOf(flags: ExplainFlags): Promise<Asker> {
  const { gateway, admin, key, certificate, certificateKey } = flags;
  const ca = text(flags.ca);
  if (admin !== undefined) {
    if (flags.tokenFile === undefined) throw new Error('--admin needs --token-file');
    return { admin, token: readBearerToken(flags.tokenFile), tls: { ca } };
  }
  if (gateway === undefined) {
    const { loadSession } = await import('../demo/session.ts');
    const session = await loadSession(flags.state);
    return { gateway: session.gateway, key: await importSigningKey(session.jobKey) };
  }
  if (key === undefined && certificate === undefined) throw new Error('--gateway needs --key or --certificate');
  const tls = { ca, certificate: text(certificate), key: text(certificateKey) };
  return { gateway, key: key === undefined ? null : await readKey(key), tls };
}

async function readKey(file: string) {
  const json = parseJsonObject(readFileSync(file, 'utf8'), { maxBytes: 65_536 });
  if (!json.ok) throw new Error(`${file}: expected a private JWK: ${json.problem}`);
  return importSigningKey(json.value as JWK);
}

function text(file: string | undefined): string | undefined {
  return file === undefined ? undefined : readFileSync(file, 'utf8');
}
