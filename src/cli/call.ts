import { Command } from 'commander';
import { terminalOutput } from './output.ts';

interface CallFlags {
  readonly data?: string;
  readonly header: readonly string[];
  readonly repeatProof?: true;
  readonly state: string;
}

/** `sallyport call METHOD URL`: one request to the gateway of the running demo, with the demo job's key. */
export function callCommand(): Command {
  return new Command('call')
    .description('call the gateway as the job of the running demo: new token, new proof, one request')
    .argument('<method>', 'HTTP method, such as POST')
    .argument('<url>', 'URL of the gateway, or a path such as /v1/projects/p1/builds')
    .option('--data <json>', 'body of the request')
    .option('--header <name: value>', 'header field; may be given several times', collect, [])
    .option('--repeat-proof', 'send the request twice with the same proof: the second one is a replay')
    .option('--state <folder>', 'folder with the keys and settings of the demo', '.sallyport')
    .action(async (method: string, url: string, flags: CallFlags) => {
      const { runCall } = await import('../demo/call.ts');
      const { data, header: headers, repeatProof = false } = flags;
      const request = { method, target: url, headers, repeatProof, ...(data === undefined ? {} : { data }) };
      process.exitCode = await runCall(request, { directory: flags.state, output: terminalOutput(), clock: Date.now });
    });
}

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}
