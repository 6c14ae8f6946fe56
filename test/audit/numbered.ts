import type { Evidence } from '../../src/kernel/context.ts';
import { unjudged } from './evidence.ts';

/** The evidence of a request that can be told from others in a file; its record is about `bytes` long. */
export function numbered(number: number, bytes = 1000): Evidence {
  return unjudged({
    id: `request-${number}`,
    status: 200,
    policyInput: JSON.stringify({ pad: 'x'.repeat(Math.max(bytes - 600, 0)) }),
  });
}

/** The numbers of the requests in a text, in order; every line must be a whole record. */
export function numbersOf(text: string): number[] {
  if (text !== '' && !text.endsWith('\n')) throw new Error(`the last line is torn: ${text.slice(-80)}`);
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => Number((JSON.parse(line) as { decision_id: string }).decision_id.replace('request-', '')));
}

/** The numbers from `first`, `count` of them. */
export function range(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => first + index);
}
