import { REASONS, type Reason, stageOf } from '../kernel/denial.ts';

/** Error types of RFC 9209 §2.3 for reasons that their stage and status do not settle. */
const ERRORS: Partial<Record<Reason, string>> = {
  'request.host_unknown': 'destination_not_found',
  'request.route_unknown': 'destination_not_found',
  'request.method_not_allowed': 'http_request_denied',
  'request.upgrade_not_allowed': 'http_request_denied',
  'forward.upstream_unreachable': 'destination_unavailable',
  'forward.upstream_tls': 'tls_certificate_error',
  'forward.upstream_broken': 'connection_terminated',
  'forward.upstream_invalid': 'http_protocol_error',
  'forward.upstream_timeout': 'http_response_timeout',
  'gateway.overloaded': 'proxy_internal_response',
};

/** The Proxy-Status value of a refusal (RFC 9209): it tells the gateway's refusals from answers of the cloud API. */
export function proxyStatusOf(reason: Reason): string {
  return `sallyport; error=${errorOf(reason)}; details="${reason}"`;
}

function errorOf(reason: Reason): string {
  const listed = ERRORS[reason];
  if (listed !== undefined) return listed;
  const { status, error } = REASONS[reason];
  if (status >= 500) return 'proxy_internal_error';
  const credentials = status === 401 || status === 403 || error !== null;
  return stageOf(reason) === 'request' && !credentials ? 'http_request_error' : 'http_request_denied';
}
