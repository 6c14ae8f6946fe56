import { sameValue } from '../policy/same_value.ts';
import type { RuleOutcome } from './compare_decisions.ts';

/** Something that means two things; texts of JSON, or what went wrong. */
export interface Difference {
  readonly name: string;
  readonly interpreter: string;
  readonly wasm: string;
}

/** What differs between two outcomes; null where nothing does. The words of a failure differ between the two; that both fail does not. */
export function differenceOf(name: string, interpreter: RuleOutcome, wasm: RuleOutcome): Difference | null {
  const bothFailed = interpreter.error !== undefined && wasm.error !== undefined;
  const oneFailed = !bothFailed && (interpreter.error !== undefined || wasm.error !== undefined);
  if (bothFailed || (!oneFailed && sameValue(interpreter.value, wasm.value))) return null;
  return { name, interpreter: outcomeText(interpreter), wasm: outcomeText(wasm) };
}

function outcomeText({ value, error }: RuleOutcome): string {
  if (error !== undefined) return `failed: ${error}`;
  return value === undefined ? 'undefined' : JSON.stringify(value);
}
