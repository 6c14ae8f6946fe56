/** What a diagnosis found: `problem`: callers fail, or a check is undermined; `warning`: it may; `ok`; `unknown`: it could not be tried. */
export interface Finding {
  /** Names what was looked at, and what is wrong with it, such as `host_rewritten`. */
  readonly id: string;
  readonly level: 'problem' | 'warning' | 'ok' | 'unknown';
  /** What was seen. */
  readonly seen: string;
  /** What to change; empty when all is well. */
  readonly change: string;
}

/** All is well with what `id` names. */
export function ok(id: string, seen: string): Finding {
  return { id, level: 'ok', seen, change: '' };
}

/** Something that keeps callers from getting through, or undermines a check. */
export function problem(id: string, seen: string, change: string): Finding {
  return { id, level: 'problem', seen, change };
}

/** Something that may. */
export function warning(id: string, seen: string, change: string): Finding {
  return { id, level: 'warning', seen, change };
}

/** Something that could not be tried. */
export function unknown(id: string, seen: string, change: string): Finding {
  return { id, level: 'unknown', seen, change };
}
