import { promises as fs } from 'node:fs';

/**
 * Reads a text file of a policy, within a bound on its size.
 * @throws Error that names the file
 */
export async function readPolicyText(file: string, limitBytes: number): Promise<string> {
  const handle = await fs.open(file, 'r').catch((error: NodeJS.ErrnoException) => {
    throw new Error(`${file} cannot be read: ${error.code === 'ENOENT' ? 'there is no such file' : error.message}`);
  });
  try {
    const { size } = await handle.stat();
    if (size > limitBytes) throw new Error(`${file} has ${size} bytes; at most ${limitBytes} are read`);
    return decode(await handle.readFile(), file);
  } finally {
    await handle.close();
  }
}

function decode(bytes: Uint8Array, file: string): string {
  try {
    // Without a byte order mark, which OPA's parser does not know.
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new Error(`${file} is not UTF-8 text`);
  }
}
