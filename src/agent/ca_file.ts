import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** The certificates in the file that `ca_file` names. @throws Error that names it */
export function readCaFile(file: string): string[] {
  try {
    return certificatesIn(readFileSync(file, 'latin1'));
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
    throw new Error(`ca_file: ${file} cannot be read: ${why}`);
  }
}

/** Node.js takes a text without certificates, or with one cut short, and trusts nothing more for it. @throws Error */
function certificatesIn(text: string): string[] {
  const found =
    text.match(/-----BEGIN (?:TRUSTED )?CERTIFICATE-----[^-]*-----END (?:TRUSTED )?CERTIFICATE-----/g) ?? [];
  if (found.length === 0) throw new Error('expected certificates in PEM, found none');
  for (const [index, pem] of found.entries()) {
    if (!isCertificate(pem)) throw new Error(`certificate ${index + 1} in it is none`);
  }
  return found;
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}
