import type { AdminApi } from '../admin/api.ts';
import type { Peer } from '../kernel/context.ts';
import { deny } from '../kernel/denial.ts';
import { type Checked, type MaybePromise, pass } from '../kernel/result.ts';
import type { CallerRequest, CallerResponse } from '../net/http_server.ts';
import type { ProofVerifier } from '../proof/verifier.ts';
import { OWN_PATH, type RequestReader } from '../request/read_request.ts';
import { explainToHolder, explainToOperator, type RememberedDecision } from './decisions.ts';

/** Where decisions are explained to the holder of the key. */
export const DECISIONS_PATH = `${OWN_PATH}/decisions/`;
const DECISION_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
/** Questions to other processes at the same time; each costs them a look into a table. */
const ASKING = 16;

/** Finds a decision of another process of this gateway; null when none of them remembers it. */
export type FindElsewhere = (id: string) => Promise<RememberedDecision | null>;

/** What explanations are made with. */
export interface ExplainParts {
  readonly origin: string;
  readonly reader: RequestReader;
  readonly proofs: ProofVerifier;
  /** Of this process. */
  find(id: string): RememberedDecision | null;
  /** Null: there are no other processes. */
  readonly elsewhere: FindElsewhere | null;
  peerOf(request: CallerRequest): Peer;
}

/** Answers requests for explanations; false when the request is for something else. */
export type ServeExplanation = (request: CallerRequest, response: CallerResponse) => MaybePromise<Checked<boolean>>;

const NOT_OURS = pass(false);
const ANSWERED = pass(true);
/** The same for a decision that is not known, not any more, or another key's: nobody learns which. */
const UNKNOWN = deny('request.route_unknown', 'no such decision for this key');

/**
 * `GET /.well-known/sallyport/decisions/{id}`: what became of a request, told to who shows the key that it belongs to, by a DPoP proof that
 * needs no token (it may have expired) or by the certificate of the connection. The proof is checked before anything is looked up, and what
 * another key's decision costs is what an unknown one costs.
 */
export function serveExplanations(parts: ExplainParts): ServeExplanation {
  let asking = 0;
  const look = async (id: string, keys: readonly string[]): Promise<Checked<RememberedDecision>> => {
    const here = parts.find(id);
    if (here !== null && belongsTo(here, keys, parts.proofs)) return pass(here);
    if (parts.elsewhere === null) return UNKNOWN;
    if (asking >= ASKING) return deny('gateway.overloaded');
    asking++;
    try {
      const there = await parts.elsewhere(id);
      return there !== null && belongsTo(there, keys, parts.proofs) ? pass(there) : UNKNOWN;
    } finally {
      asking--;
    }
  };
  return (request, response) => {
    const target = request.url ?? '';
    const id = target.slice(DECISIONS_PATH.length);
    const method = request.method ?? '';
    if (!target.startsWith(DECISIONS_PATH) || !DECISION_ID.test(id)) return NOT_OURS;
    if (method !== 'GET' && method !== 'HEAD') return NOT_OURS;
    const framing = parts.reader.judgeHead(request);
    if (!framing.ok) return framing;
    if (framing.value.hasBody) response.shouldKeepAlive = false;
    const proof = request.headers['dpop'];
    const certificate = parts.peerOf(request).certificate?.x5tS256;
    if (typeof proof !== 'string') {
      return certificate === undefined ? deny('proof.missing') : tell(look(id, [certificate]), response, method);
    }
    const shown = parts.proofs.verifyPossession({ proof, method, uri: parts.origin + target });
    if (!shown.ok) return shown;
    const keys = certificate === undefined ? [shown.value.jkt] : [shown.value.jkt, certificate];
    const once = look(id, keys).then(async (found) => {
      if (!found.ok) return found;
      const claimed = await shown.value.claim();
      return claimed.ok ? found : claimed;
    });
    return tell(once, response, method);
  };
}

async function tell(
  looking: Promise<Checked<RememberedDecision>>,
  response: CallerResponse,
  method: string,
): Promise<Checked<boolean>> {
  const found = await looking;
  if (!found.ok) return found;
  const body = `${JSON.stringify(explainToHolder(found.value))}\n`;
  response.writeHead(200, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
  response.end(method === 'HEAD' ? undefined : body);
  return ANSWERED;
}

function belongsTo({ key, proofHeader }: RememberedDecision, keys: readonly string[], proofs: ProofVerifier): boolean {
  if (key !== null && keys.includes(key)) return true;
  const claimed = proofHeader === null ? null : proofs.claimedKey(proofHeader);
  return claimed !== null && keys.includes(claimed);
}

/** `GET /decisions/{id}` of the admin port, for the operator. */
export function decisionsApi(find: (id: string) => MaybePromise<RememberedDecision | null>): AdminApi {
  return {
    '/decisions/': {
      maxBodyBytes: 0,
      methods: {
        GET: async ({ path }) => {
          const decision = await find(path.slice('/decisions/'.length));
          return decision === null
            ? { status: 404, value: { error: 'no such decision is remembered; its record may still be had' } }
            : { status: 200, value: explainToOperator(decision) };
        },
      },
    },
  };
}
