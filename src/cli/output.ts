import type { Output } from '../demo/words.ts';

/** Lines to standard output, coloured on a terminal unless NO_COLOR is set. */
export function terminalOutput(): Output {
  const colour = process.stdout.isTTY === true && (process.env['NO_COLOR'] ?? '') === '';
  return { colour, line: (text) => void process.stdout.write(`${text}\n`) };
}
