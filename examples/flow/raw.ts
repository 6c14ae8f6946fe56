import { connect } from 'node:net';

/** What an answer says. */
export interface RawAnswer {
  readonly status: number;
  /** Of a refusal of the gateway. */
  readonly reason: string | undefined;
}

const TIMEOUT_MS = 10_000;
const WHOLE = /^HTTP\/1\.1 (\d{3}).*?\r\ncontent-length: (\d+)\r\n.*?\r\n\r\n(.*)$/is;

/** Sends bytes as they are to a port of loopback, and reads one answer. @throws Error when none comes within ten seconds */
export function sendRaw(port: number | string, message: string): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect(Number(port), '127.0.0.1', () => socket.write(message, 'latin1'));
    const fail = (why: string) => {
      socket.destroy();
      reject(new Error(`port ${port} ${why}: ${text.slice(0, 200)}`));
    };
    socket.setTimeout(TIMEOUT_MS, () => fail('gave no whole answer in time'));
    socket.once('error', (error) => fail(error.message));
    socket.once('close', () => fail('closed before a whole answer'));
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
      const [, status, length, body = ''] = WHOLE.exec(text) ?? [];
      if (status === undefined || body.length < Number(length)) return;
      socket.removeAllListeners('close').destroy();
      const { reason } = /\n?content-type: application\/problem\+json/i.test(text)
        ? (JSON.parse(body) as { reason?: string })
        : {};
      resolve({ status: Number(status), reason });
    });
  });
}
