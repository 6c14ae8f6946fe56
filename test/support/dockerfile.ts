/** One instruction of a Dockerfile, continuation lines joined. */
export interface Instruction {
  /** Upper case. */
  readonly keyword: string;
  readonly value: string;
  /** Counted from 1. */
  readonly line: number;
  /** The stage it belongs to, counted from 0; -1 before the first FROM. */
  readonly stage: number;
}

/** Takes a Dockerfile apart; comments and the syntax directive are left out. */
export function readDockerfile(text: string): Instruction[] {
  const instructions: Instruction[] = [];
  let stage = -1;
  let held = '';
  let start = 0;
  for (const [index, line] of text.split('\n').entries()) {
    if (/^\s*(#|$)/.test(line)) continue;
    if (held === '') start = index + 1;
    if (line.endsWith('\\')) {
      held += `${line.slice(0, -1).trim()} `;
      continue;
    }
    const whole = held + line.trim();
    held = '';
    const [, keyword = '', value = ''] = /^(\w+)\s+(.*)$/s.exec(whole) ?? [];
    if (keyword.toUpperCase() === 'FROM') stage++;
    instructions.push({ keyword: keyword.toUpperCase(), value: value.trim(), line: start, stage });
  }
  return instructions;
}

/** The words of an instruction in exec form (a JSON array); null for the shell form. */
export function execForm(value: string): string[] | null {
  try {
    const words: unknown = JSON.parse(value);
    return Array.isArray(words) && words.every((word) => typeof word === 'string') ? words : null;
  } catch {
    return null;
  }
}

/** Sources and destination of a COPY, without its flags. */
export function copied(value: string): { readonly flags: string[]; readonly from: string[]; readonly to: string } {
  const words = value.split(/\s+/);
  const flags = words.filter((word) => word.startsWith('--'));
  const paths = words.filter((word) => !word.startsWith('--'));
  return { flags, from: paths.slice(0, -1), to: paths.at(-1) ?? '' };
}
