import { printable } from '../oauth/refusal_text.ts';
import type { JobAnswer } from './job.ts';

/** Where a story is written, line by line. */
export interface Output {
  /** Takes one line without its end. */
  line(text: string): void;
  /** Whether colours are wanted: on a terminal only. */
  readonly colour: boolean;
}

const STYLES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;

/** Text in a style, where colours are wanted. */
export function styled(output: Output, style: keyof typeof STYLES, text: string): string {
  return output.colour && text.trim() !== '' ? `\x1b[${STYLES[style]}m${text}\x1b[0m` : text;
}

/** Enough of a token or proof to tell it from another, and too little to use it. */
export function shortened(secret: string): string {
  return `${secret.slice(0, 6)}…${secret.slice(-4)}`;
}

/** Status line of an answer, and its content where that is not a refusal to be explained. */
export function answerText(answer: JobAnswer): string {
  const content = answer.problem === null ? printable(answer.body) : '';
  return `${answer.status} ${printable(answer.statusText)}  ${content}`.trim();
}
