import type { Readable } from 'node:stream';
import type { BodyHandle, RequestContext } from '../kernel/context.ts';
import { deny } from '../kernel/denial.ts';
import { type Checked, type Denied, type MaybePromise, pass } from '../kernel/result.ts';
import { parseStrictJson } from '../oauth/strict_json.ts';
import { type BodyHead, readBodyHead } from './body_head.ts';
import { FORM_PEEK_BYTES, formCarriesToken } from './form.ts';

/** Levels of nesting that a body may have for the policy to see it. */
const MAXIMUM_DEPTH = 64;

/** Bounds on reading a body. */
export interface BodyReaderOptions {
  /** Milliseconds that the part that is read may take to arrive. */
  readonly timeoutMs: number;
  /** Bytes that a body may have; as in the configuration's `limits`. */
  readonly maximumBytes: number;
}

/** The second part of stage 1: what is read of the body before it is forwarded. */
export interface BodyReader {
  /**
   * The context with its body, as far as the route and the content type ask for it: JSON where the policy sees the body, and the start of
   * a form, since a token in it is refused wherever it is sent. What was read is in `body.head` and goes first; the message is paused.
   * Refuses with `request.credentials_in_body`, `request.body_too_large`, `request.body_unreadable` and `request.timeout`.
   * @param sendContinue sends 100 Continue if the caller waits for it (RFC 9110 §10.1.1); called only when bytes are needed
   */
  readBody(
    context: RequestContext,
    message: ReadableRequest,
    sendContinue: () => void,
  ): MaybePromise<Checked<RequestContext>>;

  /**
   * The refusal to answer with: a request without an Authorization header may have its token in a form, and is then malformed rather than
   * unauthenticated (RFC 6750 §3.1). Every other refusal comes back as it is, without waiting.
   * @param awaitsContinue the caller holds the body back; it is not asked for in order to refuse
   */
  explainRefusal(refused: Denied, message: ReadableRequest, awaitsContinue: boolean): MaybePromise<Denied>;
}

/** A request whose body is to be read; `IncomingMessage` of node:http is one. */
export interface ReadableRequest extends Readable {
  /** Names and values in turn, as received. */
  readonly rawHeaders: readonly string[];
}

/** What the content type of a body makes of it. */
type Kind = 'json' | 'form' | 'other';

/** JSON (RFC 8259 §11), what is based on it (RFC 6839 §3.1), and the two names that AWS SDKs give it. */
const JSON_TYPE = /^(?:application\/json|application\/x-amz-json-1\.[01]|[^/\s]+\/[^/\s]+\+json)$/;

/** Makes a reader of bodies. */
export function createBodyReader(options: BodyReaderOptions): BodyReader {
  const { timeoutMs, maximumBytes } = options;
  const peek = { bytes: Math.min(FORM_PEEK_BYTES, maximumBytes), timeoutMs };
  return {
    readBody(context, message, sendContinue) {
      if (context.body.state === 'absent') return pass(context);
      const fields = readBodyFields(context.rawHeaders);
      const kind = kindOf(fields);
      const wanted = context.route.body === 'json';
      if (kind !== 'form' && !wanted) return pass(context);
      if (kind === 'other') return pass(withBody(context, unread('not_json')));
      const limit = Math.min(context.route.bodyLimitBytes, maximumBytes);
      if (kind === 'json' && fields.contentLength > limit) return pass(withBody(context, unread('too_large')));
      sendContinue();
      const reading = readBodyHead(message, kind === 'form' ? peek : { bytes: limit, timeoutMs });
      return reading.then((read) => {
        if (read === 'timeout') return deny('request.timeout', 'body');
        if (read === 'broken') return deny('request.body_unreadable');
        if (read.bytes > maximumBytes) return deny('request.body_too_large');
        const { chunks: head, complete } = read;
        if (complete && read.bytes === 0) return pass(withBody(context, { state: 'absent', head, complete }));
        if (kind === 'json') return pass(withBody(context, judgeJson(read, limit)));
        if (formCarriesToken(read)) return deny('request.credentials_in_body');
        return pass(withBody(context, { state: wanted ? 'not_json' : 'not_requested', head, complete }));
      });
    },

    explainRefusal(refused, message, awaitsContinue) {
      if (refused.denial.reason !== 'request.credentials_missing' || awaitsContinue) return refused;
      if (kindOf(readBodyFields(message.rawHeaders)) !== 'form') return refused;
      return readBodyHead(message, peek).then((head) => {
        const carries = head !== 'timeout' && head !== 'broken' && formCarriesToken(head);
        return carries ? deny('request.credentials_in_body') : refused;
      });
    },
  };
}

function withBody(context: RequestContext, body: BodyHandle): RequestContext {
  return { ...context, body };
}

function unread(state: 'not_json' | 'too_large'): BodyHandle {
  return { state, head: [], complete: false };
}

function judgeJson({ chunks: head, bytes, complete }: BodyHead, limit: number): BodyHandle {
  if (!complete) return { state: 'too_large', head, complete };
  const [first] = head;
  const whole = first !== undefined && head.length === 1 ? first : Buffer.concat(head, bytes);
  const json = parseStrictJson(whole, { maxBytes: limit, maxDepth: MAXIMUM_DEPTH });
  return json.ok ? { state: 'parsed', value: json.value, head, complete } : { state: 'not_json', head, complete };
}

/** The fields that say what a body is; stage 1 lets the first two stand once only. */
interface BodyFields {
  readonly contentType: string;
  /** Bytes announced; 0 for a chunked body. */
  readonly contentLength: number;
  /** Whether a content coding other than identity is applied (RFC 9110 §8.4). */
  readonly coded: boolean;
}

function readBodyFields(rawHeaders: readonly string[]): BodyFields {
  let contentType = '';
  let contentLength = 0;
  let coded = false;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const value = rawHeaders[index + 1] ?? '';
    switch (rawHeaders[index]?.toLowerCase()) {
      case 'content-type':
        contentType = value.toLowerCase();
        break;
      case 'content-length':
        contentLength = Number(value);
        break;
      case 'content-encoding':
        coded ||= value.trim().toLowerCase() !== 'identity';
        break;
    }
  }
  return { contentType, contentLength, coded };
}

function kindOf({ contentType, coded }: BodyFields): Kind {
  // What the policy would see of a coded body is not what it means.
  if (coded) return 'other';
  const [type = '', ...parameters] = contentType.split(';').map((part) => part.trim());
  if (type === 'application/x-www-form-urlencoded') return 'form';
  if (!JSON_TYPE.test(type)) return 'other';
  // RFC 8259 §8.1: JSON is UTF-8; another charset would be read otherwise by whoever honours it.
  const charset = parameters.find((parameter) => parameter.startsWith('charset'));
  return charset === undefined || /^charset="?utf-8"?$/.test(charset) ? 'json' : 'other';
}
