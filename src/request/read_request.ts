import type { BodyHandle, ClientCertificate, Evidence, Peer, RequestContext } from '../kernel/context.ts';
import { deny } from '../kernel/denial.ts';
import { type Checked, pass } from '../kernel/result.ts';
import { readCredentials, TOKEN_PARAMETER } from './credentials.ts';
import { applyFieldRules } from './field_rules.ts';
import { readForwardedCertificate } from './forwarded_certificate.ts';
import { type Framing, judgeFraming } from './framing.ts';
import { readHeaderSection, type SectionLimits } from './header_section.ts';
import { NO_PARAMETERS } from './query.ts';
import { type HostRoutes, isAuthority, type RouteEntry, type RouteTable } from './route_table.ts';
import { allowedBy, type ReadTarget, readTarget } from './target.ts';

/** What stage 1 reads of a request; `IncomingMessage` of node:http is one. */
export interface RawRequest {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  /** `1.0`, `1.1`, `2`. */
  readonly httpVersion: string;
  /** Names and values in turn, as received, none left out. */
  readonly rawHeaders: readonly string[];
  /** Of HTTP/2: `:scheme` and `:authority`, null where they were not sent. */
  readonly scheme?: string | null;
  readonly authority?: string | null;
  /** Of HTTP/2: whether the stream went on after the header section. */
  readonly announcesBody?: boolean;
}

/** How much a request may be; as in the configuration's `limits`. */
export interface RequestLimits extends SectionLimits {
  /** Bytes of a request body. */
  readonly body_bytes: number;
}

/** What a reader works with. */
export interface RequestReaderOptions {
  readonly routes: RouteTable;
  readonly limits: RequestLimits;
}

/** Stage 1. */
export interface RequestReader {
  /**
   * Reads a request in its one reading. Sets `evidence.route` as soon as it is known, so that a refusal can carry its challenge.
   * Refuses with `request.*`, in this order: header section and framing, target, host and route, method, credentials,
   * certificate, proof, fields that are not for the upstream.
   * @param peer the other end of the connection
   */
  read(message: RawRequest, evidence: Evidence, peer: Peer): Checked<RequestContext>;

  /** Judges header section and framing alone, as `read` does: for what the gateway answers itself. */
  judgeHead(message: RawRequest): Checked<Framing>;
}

/** RFC 9728 §3: where protected resource metadata is. It says what the gateway demands, so no upstream may speak there. */
export const RESOURCE_METADATA_PATH = '/.well-known/oauth-protected-resource';

/** Where the gateway answers for itself: explanations of decisions, and what its operator asks. No upstream may speak there either. */
export const OWN_PATH = '/.well-known/sallyport';

const ABSENT: BodyHandle = Object.freeze({ state: 'absent', head: Object.freeze([]), complete: true });
const UNREAD: BodyHandle = Object.freeze({ state: 'not_requested', head: Object.freeze([]), complete: false });

/** Makes stage 1 for one state of the configuration. */
export function createRequestReader({ routes, limits }: RequestReaderOptions): RequestReader {
  return {
    judgeHead(message) {
      const section = readHeaderSection(message.rawHeaders, limits, message.authority);
      return section.ok ? judgeFraming(section.value, message, limits.body_bytes) : section;
    },

    read(message, evidence, peer) {
      const method = message.method ?? '';
      const section = readHeaderSection(message.rawHeaders, limits, message.authority);
      if (!section.ok) return section;
      const headers = section.value;
      const framing = judgeFraming(headers, message, limits.body_bytes);
      if (!framing.ok) return framing;

      // RFC 9110 §9.3.6, §9.3.7, §9.3.8: these are for a proxy or for the server as a whole; the gateway offers neither.
      const raw = message.url ?? '';
      if (method === 'CONNECT' || method === 'TRACE' || (method === 'OPTIONS' && raw === '*')) {
        return deny('request.method_not_allowed');
      }
      const target = readTarget(raw);
      if (!target.ok) return target;

      const found = findRoute(routes, headers.host, target.value);
      if (!found.ok) return found;
      const { hostRoutes, entry } = found.value;
      const { route, operations, fields } = entry;
      // RFC 9113 §8.3.1: HTTP/2 says of every request what absolute-form says in HTTP/1.1.
      if (message.scheme !== undefined && message.scheme !== hostRoutes.scheme) {
        return deny('request.target_ambiguous', 'scheme is not that of our origin');
      }
      evidence.route = route;
      // RFC 9110 §7.4: what was agreed on in the handshake holds for the name that it was made with.
      if (peer.serverName !== null && peer.serverName !== hostRoutes.host) {
        return deny('request.host_of_another_connection');
      }
      if (!route.methods.includes(method)) return deny('request.method_not_allowed');

      const { target: judged, decodedQuery } = target.value;
      const mayNameToken = decodedQuery.includes(TOKEN_PARAMETER);
      const credentials = readCredentials(headers, mayNameToken ? judged.queryParameters : NO_PARAMETERS);
      if (!credentials.ok) return credentials;
      const certificate = presentedCertificate(message.rawHeaders, peer);
      if (!certificate.ok) return certificate;
      // RFC 9449 §4.3 check 1
      if (headers.proofRepeated) return deny('request.proof_repeated');
      if (framing.value.websocket && !route.websocket) return deny('request.upgrade_not_allowed');

      let { rawHeaders } = message;
      if (fields) {
        const left = applyFieldRules(rawHeaders, fields);
        if (!left.ok) return left;
        rawHeaders = left.value;
      }

      return pass({
        id: evidence.id,
        receivedAt: evidence.receivedAt,
        method,
        httpVersion: message.httpVersion,
        route,
        host: hostRoutes.host,
        target: target.value.target,
        operation:
          operations === null
            ? null
            : operations.find(method, target.value.target.segments, {
                queryParameters: target.value.target.queryParameters,
                rawHeaders,
              }),
        rawHeaders,
        credentials: credentials.value,
        proof: headers.proof,
        certificate: certificate.value,
        peerAddress: evidence.peerAddress,
        body: framing.value.hasBody ? UNREAD : ABSENT,
        upgrade: framing.value.websocket,
      });
    },
  };
}

const NO_CERTIFICATE = pass(null);

/** The certificate of the caller: from our own handshake with it, or as the front proxy says. Refuses as `readForwardedCertificate` does. */
export function presentedCertificate(
  rawHeaders: readonly string[],
  { certificate, certificateField }: Peer,
): Checked<ClientCertificate | null> {
  if (certificateField !== null) return readForwardedCertificate(rawHeaders, certificateField);
  return certificate === null ? NO_CERTIFICATE : pass(certificate);
}

interface Found {
  readonly hostRoutes: HostRoutes;
  readonly entry: RouteEntry;
}

/** Whether segments are those of what the gateway answers itself, however they were written. */
function isOwn([first, second]: readonly string[]): boolean {
  return first === '.well-known' && (second === 'oauth-protected-resource' || second === 'sallyport');
}

/** The route of a target. A target that needs what its route does not allow is refused as if no route allowed anything. */
function findRoute(routes: RouteTable, host: string, { target, needs, origin }: ReadTarget): Checked<Found> {
  const authority = host.toLowerCase();
  const hostRoutes = routes.find(authority);
  if (hostRoutes === undefined && !isAuthority(authority)) return deny('request.host_malformed', 'Host is not a host');
  // RFC 9112 §3.2, §3.2.2: absolute-form overrides Host, and a client sends the same in both. Two readings where they differ.
  if (origin !== null && (origin.authority !== authority || origin.scheme !== hostRoutes?.scheme)) {
    return deny('request.target_ambiguous', 'absolute-form that does not name our origin');
  }
  const entry = hostRoutes?.match(target.segments) ?? null;
  if (needs !== 0 && (entry === null || (needs & ~allowedBy(entry.route.targetRules)) !== 0)) {
    return deny('request.target_ambiguous', 'deviation that the route does not allow');
  }
  if (hostRoutes === undefined) return deny('request.host_unknown');
  return entry === null || isOwn(target.segments) ? deny('request.route_unknown') : pass({ hostRoutes, entry });
}
