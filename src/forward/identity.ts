import type { AuthorizedRequest, Job } from '../kernel/context.ts';

/** What is safe in a header field as it is: visible ASCII without the percent sign. */
const SAFE = /^[\x21-\x24\x26-\x7e]*$/;
const UNSAFE = /[^\x21-\x24\x26-\x7e]/gu;
const UNSAFE_IN_JOB = /[^\x21-\x24\x26-\x39\x3b-\x7e]/gu;

/**
 * Adds the fields that tell the upstream who is asking: `Sallyport-Subject`, `-Client`, `-Job`, `-Operation`, `-Decision-Id`. Values are
 * visible ASCII; everything else, `%` included, is percent-encoded UTF-8, so that no two identities look alike.
 */
export function addIdentity(headers: string[], { context, token }: AuthorizedRequest): void {
  headers.push('Sallyport-Subject', encoded(token.subject), 'Sallyport-Client', encoded(token.clientId));
  if (token.job !== null) headers.push('Sallyport-Job', jobName(token.job));
  const operation = context.operation;
  if (operation !== null) headers.push('Sallyport-Operation', encoded(`${operation.service}/${operation.name}`));
  headers.push('Sallyport-Decision-Id', context.id);
}

/** `provider:repository:run`, such as `github:acme/infra:4711`; a member that is not known is empty, a colon inside one is encoded. */
export function jobName({ provider, repository, repository_id, run_id }: Job): string {
  return `${part(provider)}:${part(repository ?? repository_id)}:${part(run_id)}`;
}

function part(text: string | null): string {
  return text === null ? '' : text.replace(UNSAFE_IN_JOB, percentEncoded);
}

function encoded(text: string): string {
  return SAFE.test(text) ? text : text.replace(UNSAFE, percentEncoded);
}

/** A lone surrogate becomes U+FFFD, as everywhere in Node.js. */
function percentEncoded(character: string): string {
  let out = '';
  for (const byte of Buffer.from(character, 'utf8')) out += `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  return out;
}
