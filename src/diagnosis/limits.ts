import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { ANSWER_MS, clientOf, tlsOptions } from './call.ts';
import { type Finding, ok, problem, unknown, warning } from './findings.ts';
import { type Arrival, ask, askerField, doctorUrl, isOfGateway, type Patient } from './patient.ts';

/** Bytes of header section that the fields beside a token take. */
const OTHER_FIELDS = 2048;
/** Bytes to which the size is found out at which tokens die. */
const STEP = 256;
/** Bytes of the smallest token that is tried. */
const SMALLEST = 512;
/** Milliseconds between the two parts of what is streamed here; the gateway’s answers pause for 1500. */
const PAUSE_MS = 1500;
/** Of such a pause this much must be left at the other side, or somebody kept the first part back. */
const LEFT_MS = 700;

/** The size at which tokens stop getting through, compared with what the gateway takes. */
export async function findHeaderLimit(patient: Patient, { expects }: Arrival): Promise<Finding> {
  const most = expects.header_bytes - OTHER_FIELDS;
  const passes = async (bytes: number) => {
    const token = `DPoP ${'a'.repeat(Math.max(1, bytes - 5))}`;
    const answer = await ask(patient, ['Authorization', token]).catch(() => null);
    // A gateway that does not see the field, whatever took it away, has not taken a token of that size.
    const arrived = answer?.arrival?.received.credentials.authorization[0]?.length === token.length;
    return { passes: arrived, who: answer === null ? 'the connection was cut' : `${answer.status}`, answer };
  };
  const whole = await passes(most);
  if (whole.passes)
    return ok('header_size', `tokens of ${most} bytes get through, and the gateway takes no larger ones`);
  let good = SMALLEST;
  let bad = most;
  if (!(await passes(good)).passes) return unknown('header_size_unknown', 'tokens do not get through at all', '');
  while (bad - good > STEP) {
    const middle = Math.floor((good + bad) / 2);
    if ((await passes(middle)).passes) good = middle;
    else bad = middle;
  }
  const by = whole.answer !== null && isOfGateway(whole.answer) ? 'the gateway' : 'what stands in front of the gateway';
  return problem(
    'header_too_small',
    `tokens of more than about ${good} bytes are refused by ${by} (${whole.who}); the gateway takes ${most}`,
    `Allow header fields of ${expects.header_bytes} bytes (nginx: large_client_header_buffers 4 ${Math.ceil(expects.header_bytes / 1024)}k; HAProxy: tune.bufsize; Envoy: max_request_headers_kb), or let tokens be introspected instead of carrying their details.`,
  );
}

/** Whether answers and bodies pass as they come, or are kept back until they are whole. */
export async function findBuffering(patient: Patient): Promise<Finding[]> {
  const [down, up] = await Promise.all([streamDown(patient).catch(() => null), streamUp(patient).catch(() => null)]);
  return [
    judgePause(
      'response',
      down,
      'answers',
      'nginx: proxy_buffering off; HAProxy: no option http-buffer-response; Envoy: no filter that reads whole answers',
    ),
    judgePause(
      'request',
      up,
      'bodies',
      'nginx: proxy_request_buffering off; HAProxy: no option http-buffer-request; Envoy: no envoy.filters.http.buffer',
    ),
  ];
}

function judgePause(id: 'response' | 'request', pause: number | null, what: string, how: string): Finding {
  if (pause === null) return unknown(`${id}_buffering_unknown`, `streamed ${what} could not be tried`, '');
  if (pause >= LEFT_MS) return ok(`${id}_buffering`, `${what} pass as they come`);
  return warning(
    `${id}_buffering`,
    `${what} are kept back until they are whole: server-sent events, long polling and large transfers stall`,
    `Turn buffering off (${how}).`,
  );
}

/** Milliseconds between the first and the last part of a streamed answer. */
function streamDown(patient: Patient): Promise<number | null> {
  const url = doctorUrl(patient, '?stream');
  return new Promise((resolve, reject) => {
    const request = clientOf(url).request(url, { headers: fields(patient), ...options(patient) }, (response) => {
      if (response.statusCode !== 200) resolve(null);
      let first: number | null = null;
      let last = 0;
      response.on('data', () => {
        last = performance.now();
        first ??= last;
      });
      response.on('end', () => resolve(first === null ? null : last - first));
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end();
  });
}

/** Milliseconds between the first and the last part of a body, as the gateway saw them. */
async function streamUp(patient: Patient): Promise<number | null> {
  const url = doctorUrl(patient);
  const answer = Promise.withResolvers<number | null>();
  const request = clientOf(url).request(
    url,
    { method: 'POST', headers: fields(patient), ...options(patient) },
    (response) => {
      let text = '';
      response.on('data', (part) => {
        text += String(part);
      });
      response.on('end', () => answer.resolve(spreadOf(text)));
      response.on('error', answer.reject);
    },
  );
  request.on('error', answer.reject);
  request.write('first');
  await sleep(PAUSE_MS);
  request.end('last');
  return answer.promise;
}

function spreadOf(text: string): number | null {
  try {
    const { spread_ms: spread } = JSON.parse(text) as { spread_ms?: unknown };
    return typeof spread === 'number' ? spread : null;
  } catch {
    return null;
  }
}

/** Whether a connection can be switched to WebSocket, and words pass. */
export async function findWebSocket(patient: Patient, { expects }: Arrival): Promise<Finding> {
  const wanted = expects.routes.filter(({ websocket }) => websocket).map(({ name }) => name);
  const status = await switchProtocols(patient).catch((error: Error) => error.message);
  if (status === 'switched') return ok('websocket', 'connections can be switched to WebSocket');
  const seen = `a request to switch to WebSocket came to ${status}`;
  const change =
    'Let the load balancer pass Upgrade and Connection (nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade; Envoy: upgrade_configs: [{ upgrade_type: websocket }]).';
  return wanted.length > 0
    ? problem('no_upgrade', `${seen}; routes that need it: ${wanted.join(', ')}`, change)
    : warning('no_upgrade', `${seen}; no route needs it now`, change);
}

function switchProtocols(patient: Patient): Promise<string> {
  const url = doctorUrl(patient);
  const key = randomBytes(16).toString('base64');
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64'); // RFC 6455 §4.2.2
  return new Promise((resolve, reject) => {
    const request = clientOf(url).request(url, {
      headers: {
        ...fields(patient),
        Connection: 'Upgrade',
        Upgrade: 'websocket',
        'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': key,
      },
      ...options(patient),
    });
    request.on('upgrade', (response, socket, head) => {
      let bytes = head;
      const look = () => {
        // RFC 6455 §5.2: a final text frame of two letters.
        if (bytes.length < 4) return;
        resolve(bytes.subarray(0, 4).equals(Buffer.from([0x81, 2, 0x6f, 0x6b])) ? 'switched' : 'other bytes');
        socket.destroy();
      };
      if (response.headers['sec-websocket-accept'] !== accept) resolve('an answer with another Sec-WebSocket-Accept');
      socket.on('data', (part: Buffer) => {
        bytes = Buffer.concat([bytes, part]);
        look();
      });
      socket.on('end', () => resolve('a connection that ended without a word'));
      socket.on('error', reject);
      look();
    });
    request.on('response', (response) => {
      response.resume();
      resolve(`status ${response.statusCode}`);
    });
    request.on('error', reject);
    request.end();
  });
}

function fields(patient: Patient): Record<string, string> {
  const [name = '', value = ''] = askerField(patient);
  return { [name]: value };
}

function options({ tls }: Patient) {
  return { agent: false as const, signal: AbortSignal.timeout(ANSWER_MS), ...tlsOptions(tls) };
}
