import { z } from 'zod';
import { readYamlFile } from './yaml_file.ts';

/** The programs whose configuration can be looked at. */
export type ConfigKind = 'gateway' | 'broker';

/** Keys that only the file of a broker has. */
const BROKER = ['workflows_file', 'authorization_server', 'state_folder'];

/** Whose configuration a file is, by its keys. @throws ConfigError when it cannot be read, or is no object */
export function kindOf(file: string): ConfigKind {
  const keys = Object.keys(readYamlFile(file, z.looseObject({})));
  return BROKER.some((key) => keys.includes(key)) ? 'broker' : 'gateway';
}
