import type { IssuedToken } from '../oauth/client_credentials.ts';
import { detailsText, explainRefusal, printable } from '../oauth/refusal_text.ts';
import type { JsonObject } from '../oauth/strict_json.ts';

/** Refusals that are remembered for the end of the job. */
const REMEMBERED = 100;

/** A refusal of the gateway, with what the agent knows of the request and its token. */
export interface RefusedCall {
  readonly api: string;
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  readonly problem: JsonObject;
  readonly token: IssuedToken | null;
}

/** What the agent tells the person at the keyboard: lines of text, on standard error. The tool gets the answer itself, unchanged. */
export class Notices {
  readonly #write: (line: string) => void;
  readonly #refusals: string[][] = [];
  #requests = 0;
  #refused = 0;

  constructor(write: (line: string) => void) {
    this.#write = write;
  }

  /** What was seen so far: for the end of the job. */
  get summary(): {
    readonly requests: number;
    readonly refused: number;
    readonly refusals: readonly (readonly string[])[];
  } {
    return { requests: this.#requests, refused: this.#refused, refusals: this.#refusals };
  }

  countRequest(): void {
    this.#requests++;
  }

  /** Something that the person should know; one line. */
  say(text: string): void {
    this.#write(`sallyport agent: ${printable(text, 2000)}`);
  }

  /** Which operation was refused, why, what the token has, what would do, and by which id the decision is found again. */
  refusal(call: RefusedCall): void {
    const lines = refusalLines(call);
    this.#refused++;
    if (this.#refusals.length < REMEMBERED) this.#refusals.push(lines);
    this.#write(`sallyport agent: ${lines[0]}`);
    for (const line of lines.slice(1)) this.#write(`  ${line}`);
  }
}

function refusalLines({ api, method, target, problem, token }: RefusedCall): string[] {
  const [path = ''] = target.split('?', 1);
  const operation = operationIn(problem);
  const what = operation === null ? '' : `, which is ${operation},`;
  const [why = '', ...rest] = explainRefusal(problem);
  const lines = [`the gateway refused ${method} ${path} (${api})${what} with ${String(problem['status'])}: ${why}`];
  const decision = rest.pop();
  lines.push(...rest);
  if (token !== null && problem['status'] === 403) lines.push(`The token has: ${rightsText(token)}.`);
  if (decision !== undefined) lines.push(decision);
  return lines.map((line) => printable(line, 2000));
}

/** The operation by what it needs: `builds.create on projects/p1/builds`. */
function operationIn(problem: JsonObject): string | null {
  const required = problem['required'] as
    | { authorization_details?: { actions?: unknown; identifier?: unknown }[] }
    | undefined;
  const [detail] = Array.isArray(required?.authorization_details) ? required.authorization_details : [];
  if (!Array.isArray(detail?.actions) || typeof detail.identifier !== 'string') return null;
  return `${detail.actions.join(', ')} on ${detail.identifier}`;
}

function rightsText({ scopes, authorizationDetails }: IssuedToken): string {
  const parts = [];
  if (scopes.length > 0) parts.push(`scope ${scopes.join(' ')}`);
  if (authorizationDetails.length > 0) parts.push(detailsText(authorizationDetails));
  return parts.length === 0 ? 'no rights' : parts.join(', and ');
}
