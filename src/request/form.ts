import type { BodyHead } from './body_head.ts';
import { TOKEN_PARAMETER } from './credentials.ts';

/** Bytes of a form in which a token is looked for. */
export const FORM_PEEK_BYTES = 16_384;

/** Whether a form names the parameter `access_token` (RFC 6750 §2.2) within the first FORM_PEEK_BYTES. Names are decoded byte by byte. */
export function formCarriesToken(head: BodyHead): boolean {
  const text = Buffer.concat(head.chunks, Math.min(head.bytes, FORM_PEEK_BYTES)).toString('latin1');
  return text.split('&').some((pair) => {
    const equals = pair.indexOf('=');
    const name = equals < 0 ? pair : pair.slice(0, equals);
    return decodeName(name).trim() === TOKEN_PARAMETER;
  });
}

function decodeName(name: string): string {
  const spaced = name.replaceAll('+', ' ');
  return spaced.replace(/%([0-9A-Fa-f]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));
}
