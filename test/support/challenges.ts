/** One challenge of a WWW-Authenticate field (RFC 9110 §11.6.1). */
export interface Challenge {
  readonly scheme: string;
  readonly parameters: Readonly<Record<string, string>>;
}

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const PARAMETER = new RegExp(`^(${TOKEN})="((?:[^"\\\\]|\\\\.)*)"`);
const SCHEME = new RegExp(`^(${TOKEN})(?: +|$)`);

/**
 * Reads WWW-Authenticate values as a strict client would: a list of challenges, each a scheme and quoted parameters, none repeated.
 * Fails on anything else, so that every test that reads one also tests its syntax.
 */
export function readChallenges(values: readonly string[]): Challenge[] {
  const challenges: { scheme: string; parameters: Record<string, string> }[] = [];
  let rest = values.join(', ');
  while (rest !== '') {
    const parameter = PARAMETER.exec(rest);
    const last = challenges.at(-1);
    if (parameter !== null && last !== undefined) {
      const [whole, name = '', value = ''] = parameter;
      if (name.toLowerCase() in last.parameters) throw new Error(`repeated parameter ${name}: ${values}`);
      last.parameters[name.toLowerCase()] = value;
      rest = rest.slice(whole.length);
    } else {
      const scheme = SCHEME.exec(rest);
      if (scheme === null) throw new Error(`not a challenge: ${rest}`);
      challenges.push({ scheme: scheme[1] ?? '', parameters: {} });
      rest = rest.slice(scheme[0].length);
      if (PARAMETER.test(rest)) continue;
    }
    if (rest !== '' && !/^, /.test(rest)) throw new Error(`not a list: ${rest}`);
    rest = rest.slice(2);
  }
  return challenges;
}
