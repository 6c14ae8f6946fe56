/** Ways to spoil a member of a JSON object. */
export const SPOILED = {
  missing: undefined,
  null: null,
  true: true,
  number: 42,
  text: 'something else',
  empty: '',
  array: ['something else'],
  object: { something: 'else' },
  oversize: 'x'.repeat(2000),
} as const;

/** One of the ways. */
export type Spoiling = keyof typeof SPOILED;

/** One case: its name, the member, its value, and the reason that must be given; null: the request is allowed all the same. */
export type MemberCase = readonly [name: string, member: string, value: unknown, reason: string | null];

/** Every way to spoil one member: refused with `reason`, but for those that are listed. */
export function spoil(
  member: string,
  reason: string | null,
  others: Partial<Record<Spoiling, string | null>> = {},
): MemberCase[] {
  return (Object.keys(SPOILED) as Spoiling[]).map((way) => {
    const expected = way in others ? (others[way] ?? null) : reason;
    return [`${member} ${way === 'missing' ? 'is missing' : `is ${way}`}`, member, SPOILED[way], expected];
  });
}
