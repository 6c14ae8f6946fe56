import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { readCaFile } from '../agent/ca_file.ts';

/**
 * Lets this process trust the CAs of the system and of a file besides those of Node.js: an agent runs where companies install their own.
 * @throws Error that names the file
 */
export function trustMore(file: string | undefined): void {
  const certificates = [...getCACertificates('default'), ...getCACertificates('system')];
  if (file !== undefined) certificates.push(...readCaFile(file));
  try {
    setDefaultCACertificates(certificates);
  } catch (error) {
    throw new Error(`ca_file: ${file ?? 'the certificates of the system'} cannot be used: ${(error as Error).message}`);
  }
}
