import { readFileSync } from 'node:fs';
import type { MachineUser } from './job_folder.ts';

/** A user with what a command that runs as it finds in its environment. */
export interface NamedUser extends MachineUser {
  readonly name: string;
  readonly home: string;
}

/**
 * Finds a user by name or number in /etc/passwd; a number that is not there needs its group too, as `uid:gid`.
 * @throws Error that says what was expected
 */
export function findUser(text: string): NamedUser {
  const [, uid, gid] = /^(\d{1,10})(?::(\d{1,10}))?$/.exec(text) ?? [];
  const entries = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  const entry = entries.find(([name, , number]) => (uid === undefined ? name === text : number === uid));
  if (entry !== undefined) {
    const [name = '', , number, group, , home = '/'] = entry;
    return { name, uid: Number(number), gid: Number(gid ?? group), home };
  }
  if (uid !== undefined && gid !== undefined) return { name: uid, uid: Number(uid), gid: Number(gid), home: '/' };
  throw new Error(`--user ${text}: there is no such user in /etc/passwd; expected a name, a uid, or uid:gid`);
}

/** Looks up who a command shall run as. Only root may become somebody else. @throws Error */
export function userToBecome(text: string): NamedUser {
  const user = findUser(text);
  if (process.getuid?.() !== 0 && process.getuid?.() !== user.uid) {
    throw new Error(`--user ${text}: only root can run a command as another user`);
  }
  return user;
}

/** What tells a command who it is. */
export function userVariables({ name, home }: NamedUser): Record<string, string> {
  return { USER: name, LOGNAME: name, HOME: home };
}
