import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { JWK } from 'jose';
import { stringify } from 'yaml';
import { isJsonObject, type JsonObject, parseJsonObject } from '../oauth/strict_json.ts';

/** Folder below the current one in which the demo keeps its keys and settings. */
export const STATE_FOLDER = '.sallyport';

/** What a job needs to go on calling: where, as whom, with which keys, and what it asks for. */
export interface Session {
  /** Origin of the gateway; tokens are sent nowhere else. */
  readonly gateway: string;
  readonly issuer: string;
  readonly clientId: string;
  readonly resource: string;
  readonly scopes: readonly string[];
  readonly authorizationDetails: readonly JsonObject[];
  readonly job: JsonObject;
  /** Private key of the workflow, by which it authenticates. */
  readonly clientKey: JWK;
  /** Private key of the job, which its tokens are bound to. */
  readonly jobKey: JWK;
}

const FILE = 'session.json';
const MAXIMUM_BYTES = 262_144;

/** Makes the folder so that only this user can look into it, and keeps it out of version control. */
export async function prepareFolder(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await chmod(directory, 0o700);
  await writeFile(join(directory, '.gitignore'), '*\n', { mode: 0o600 });
}

/** Writes a file of the folder whole, readable for this user only. @returns its path */
export async function writeSecret(directory: string, name: string, text: string): Promise<string> {
  const path = join(directory, name);
  const draft = `${path}.${process.pid}`;
  await writeFile(draft, text, { mode: 0o600 });
  await rename(draft, path);
  return path;
}

/** Keeps the session for `sallyport call`. */
export async function saveSession(directory: string, session: Session): Promise<void> {
  await writeSecret(directory, FILE, `${JSON.stringify(session, null, 2)}\n`);
}

/** Reads the session of the demo that was started last. @throws Error that says what to do */
export async function loadSession(directory: string): Promise<Session> {
  const path = join(directory, FILE);
  const text = await readFile(path, 'utf8').catch(() => null);
  if (text === null) throw new Error(`there is no ${path}: start the demo first, in this folder (npm run demo)`);
  const json = parseJsonObject(text, { maxBytes: MAXIMUM_BYTES });
  if (!json.ok || !isSession(json.value)) throw new Error(`${path} is damaged: start the demo again (npm run demo)`);
  return json.value as unknown as Session;
}

function isSession(value: JsonObject): boolean {
  const isText = (name: string) => typeof value[name] === 'string';
  return (
    ['gateway', 'issuer', 'clientId', 'resource'].every(isText) &&
    ['scopes', 'authorizationDetails'].every((name) => Array.isArray(value[name])) &&
    ['job', 'clientKey', 'jobKey'].every((name) => isJsonObject(value[name]))
  );
}

/** Writes what `sallyport agent` needs to go on as a job of the demo: its configuration, and the key of the workflow. */
export async function saveAgentConfig(directory: string, session: Session): Promise<void> {
  await writeSecret(directory, 'client_key.json', `${JSON.stringify(session.clientKey)}\n`);
  const config = {
    version: 1,
    authorization_server: {
      issuer: session.issuer,
      client_id: session.clientId,
      private_key_file: 'client_key.json',
      job: session.job,
    },
    apis: [
      {
        name: 'cloud',
        url: session.resource,
        scopes: session.scopes,
        authorization_details: session.authorizationDetails,
        variables: ['CLOUD_URL'],
      },
    ],
  };
  await writeSecret(directory, 'agent.yaml', stringify(config));
}
