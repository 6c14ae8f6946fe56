/** Environment variables of a process. */
type Variables = Readonly<Record<string, string | undefined>>;

/** What `npm run sallyport` sets for Node.js itself, unless the user did. */
const OF_SCRIPT = ['NODE_COMPILE_CACHE', 'MALLOC_ARENA_MAX'] as const;

/** By which that script says which of them the user had set; absent: the program was started otherwise, and all are the user's. */
const MARK = 'SALLYPORT_USER_VARIABLES';

/** The environment as whoever started the program had it: without what the npm script of a checkout added. */
export function userVariablesOf(variables: Variables): Variables {
  const { [MARK]: mark, ...all } = variables;
  if (mark === undefined) return variables;
  const own = mark.split(',');
  return Object.fromEntries(
    Object.entries(all).filter(([name]) => !(OF_SCRIPT as readonly string[]).includes(name) || own.includes(name)),
  );
}
