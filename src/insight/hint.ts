import { nearest } from '../config/problems.ts';
import type { RegoDiagnostic } from '../rego/policy_source.ts';

const UNDEFINED_FUNCTION = /^undefined function (\S+)/;
const UNSAFE_VARIABLE = /^var (\S+) is unsafe/;
const UNUSED = /^(?:assigned var|declared var|unused argument|function arg) (\S+) unused|unused argument (\S+)/;
/** How the type checker writes a member that is not there, and those that are. */
const HAVE = /have: "([^"]+)"/;
const WANT = /want \(one of\): \[(.*)\]/;

/** What to do about a finding, where that can be said; else null. */
export function hintFor(diagnostic: RegoDiagnostic): string | null {
  const { message, code } = diagnostic;
  const missing = UNDEFINED_FUNCTION.exec(message)?.[1];
  if (missing !== undefined) return hintForFunction(missing);
  if (message.startsWith('undefined ref')) return hintForMember(diagnostic);
  const unsafe = UNSAFE_VARIABLE.exec(message)?.[1];
  if (unsafe !== undefined) {
    return `nothing gives ${unsafe} a value here: import it, assign it, or bind it with "some ${unsafe} in ..."`;
  }
  if (UNUSED.test(message)) return 'remove it, or write _ in its place';
  if (code === 'rego_recursion_error')
    return 'a rule may not use itself, also not by way of the whole package: of data beside it, name the member';
  if (code === 'rego_parse_error' && message.includes('unexpected eof')) return 'a bracket or brace is not closed';
  return null;
}

function hintForFunction(name: string): string {
  if (name.startsWith('data.')) return `no module defines ${name}: is the file in this folder?`;
  return `compiled policies do not have ${name}; engine/capabilities.json lists what they have`;
}

function hintForMember({ details = [] }: RegoDiagnostic): string | null {
  const text = details.join('\n');
  const written = HAVE.exec(text)?.[1];
  const known = [...(WANT.exec(text)?.[1] ?? '').matchAll(/"([^"]+)"/g)].map((match) => match[1] as string);
  if (written === undefined || known.length === 0) return null;
  const close = nearest(written, known);
  return close === null ? `there is only: ${known.join(', ')}` : `did you mean ${close}?`;
}
