import { createHash, X509Certificate } from 'node:crypto';
import { type Finding, ok, problem, unknown, warning } from './findings.ts';
import { type Arrival, ask, doctorUrl, isOfGateway, type Patient } from './patient.ts';

/** Seconds that clocks may differ before it is worth a word. */
const CLOCK_SECONDS = 2;

/** Whether the gateway is reached at all; the arrival, or what stands in the way. */
export async function findGateway(patient: Patient): Promise<Arrival | Finding> {
  const url = doctorUrl(patient).href;
  const before = await ask(patient).catch((error: NodeJS.ErrnoException) => error);
  if (before instanceof Error) {
    const tls = before.code?.startsWith('ERR_TLS') || /certificate|SSL|TLS/i.test(`${before.code} ${before.message}`);
    return problem(
      tls ? 'tls_untrusted' : 'unreachable',
      `${url}: ${before.message}`,
      tls
        ? 'Give the load balancer a certificate for this name from an authority that callers trust, or pass --ca.'
        : 'Check name, port and firewall, and that the load balancer has a healthy gateway behind it.',
    );
  }
  if (before.arrival !== null) return before.arrival;
  const seen = `${url} answered ${before.status}`;
  if (!isOfGateway(before)) {
    return problem(
      'not_the_gateway',
      `${seen}, and it was not the gateway that answered`,
      'Route all paths of this host, /.well-known/ included, to the gateway, and let it answer 4xx itself.',
    );
  }
  return problem(
    'path_changed',
    `${seen} by the gateway: the path or the token is not what it expects`,
    'Set doctor.token_file in the gateway and pass the same token; if it is set, the path is changed on the way: let the load balancer pass the path as callers send it.',
  );
}

/** The origin, host and path as they are seen at both ends. */
export function compareUrls({ url }: Patient, { origin, received, expects }: Arrival): Finding[] {
  const findings: Finding[] = [];
  findings.push(
    origin === url.origin
      ? ok('origin', `callers sign ${origin}, and the gateway expects that`)
      : problem(
          'origin_differs',
          `callers of ${url.origin} sign htu with it; the gateway expects ${origin}`,
          `Set public_origin: ${url.origin} in the gateway, or let callers use ${origin}.`,
        ),
  );
  const sent = url.pathname.replace(/\/$/, '') + doctorUrl({ url } as Patient).pathname.slice(-DOCTOR_LENGTH);
  findings.push(
    received.target === sent
      ? ok('path', 'the path arrives as it was sent')
      : problem(
          'path_changed',
          `sent ${sent}, and ${received.target} arrived: what callers sign in htu is not what the gateway compares with`,
          'Let the load balancer pass the path as callers send it; give the gateway a host of its own in place of a path prefix.',
        ),
  );
  const hosts = received.fields.filter(([name]) => name === 'host').map(([, value]) => value);
  const [host = ''] = hosts;
  const served = expects.routes.some((route) => route.hosts.some((name) => servesHost(name, host)));
  if (host === url.host) findings.push(ok('host', `Host arrives as ${host}`));
  else {
    const seen = `sent Host ${url.host}, and ${hosts.join(', ')} arrived`;
    const change =
      'Let the load balancer pass Host (nginx: proxy_set_header Host $http_host; HAProxy: no set-header Host; Envoy: no host_rewrite_literal).';
    findings.push(
      served
        ? warning('host_rewritten', `${seen}, which the gateway serves too`, change)
        : problem('host_rewritten', `${seen}, which the gateway answers with 421`, change),
    );
  }
  return findings;
}

const DOCTOR_LENGTH = '/.well-known/sallyport/doctor'.length;

/** As the gateway does: a listed host with `:*` is served on any port. */
function servesHost(listed: string, host: string): boolean {
  const name = host.toLowerCase();
  return listed === name || (listed.endsWith(':*') ? listed.slice(0, -2) : listed) === name.replace(/:\d+$/, '');
}

/** Whether Authorization and DPoP arrive as they were sent, and two of them as two. */
export async function compareCredentials(patient: Patient): Promise<Finding[]> {
  const sent = { Authorization: 'DPoP sallyport-doctor', DPoP: 'sallyport.doctor.probe' };
  const { arrival } = await ask(patient, Object.entries(sent).flat());
  const findings = Object.entries(sent).map(([name, value]): Finding => {
    const id = name.toLowerCase() as 'authorization' | 'dpop';
    const got = arrival?.received.credentials[id];
    if (got === undefined)
      return unknown(`${id}_unknown`, 'a request with credentials got no answer of the gateway', '');
    if (got.length === 0) {
      return problem(
        `${id}_stripped`,
        `${name} does not arrive`,
        `Let the load balancer pass ${name}; it must not authenticate callers itself.`,
      );
    }
    if (got.length > 1) {
      return problem(
        `${id}_repeated`,
        `${name} arrives ${got.length} times`,
        `Let the load balancer add no ${name} of its own.`,
      );
    }
    return got[0]?.sha256 === createHash('sha256').update(value).digest('base64url')
      ? ok(id, `${name} arrives as it was sent`)
      : problem(
          `${id}_changed`,
          `${name} arrives with another value`,
          `Let the load balancer pass ${name} unchanged, and join nothing to it.`,
        );
  });
  const twice = await ask(patient, ['DPoP', 'sallyport.doctor.one', 'DPoP', 'sallyport.doctor.two']);
  const count = twice.arrival?.received.credentials.dpop.length;
  if (count === undefined && twice.status >= 400 && !isOfGateway(twice)) {
    findings.push(ok('dpop_twice', `two DPoP fields are refused in front of the gateway (${twice.status})`));
  } else if (count !== 2) {
    findings.push(
      warning(
        'dpop_joined',
        `two DPoP fields arrive as ${count ?? 'none'}: the gateway cannot see that there were two`,
        'Let the load balancer pass repeated fields as they are (RFC 9449 §4.3 check 1 is the gateway’s to make).',
      ),
    );
  } else findings.push(ok('dpop_twice', 'two DPoP fields arrive as two, and the gateway refuses them'));
  return findings;
}

/** How far the clocks of this machine and the gateway are apart. */
export async function compareClocks(patient: Patient): Promise<Finding> {
  const sentAt = Date.now();
  const { arrival } = await ask(patient);
  const receivedAt = Date.now();
  if (arrival === null) return unknown('clock_unknown', 'the gateway did not answer', '');
  // The gateway looked at its clock somewhere in between.
  const early = (arrival.server_time_ms - receivedAt) / 1000;
  const late = (arrival.server_time_ms - sentAt) / 1000;
  const offset = early > 0 ? early : late < 0 ? late : 0;
  const seen = `the gateway’s clock is ${Math.abs(offset).toFixed(1)} seconds ${offset < 0 ? 'behind' : 'ahead of'} this machine’s`;
  const change = 'Set both clocks by NTP. Proofs are dated by the caller’s clock and judged by the gateway’s.';
  const leeway = arrival.expects.leeway_seconds;
  if (Math.abs(offset) <= CLOCK_SECONDS) return ok('clock', 'the clocks agree');
  if (Math.abs(offset) <= leeway) return warning('clock_offset', `${seen}; ${leeway} are forgiven`, change);
  return problem('clock_offset', `${seen}, and only ${leeway} are forgiven`, change);
}

/** Where TLS ends, and whether the certificate of a caller gets through. */
export function compareTls({ url, tls }: Patient, { connection, expects }: Arrival): Finding[] {
  const wanted = expects.routes.some(({ bindings }) => bindings.includes('mtls'));
  const findings: Finding[] = [];
  if (url.protocol === 'http:') {
    findings.push(
      problem(
        'plaintext',
        `callers send tokens to ${url.origin} in the clear`,
        'Serve https to callers (RFC 6750 §5.2).',
      ),
    );
  } else if (connection.tls) findings.push(ok('tls', 'the gateway itself speaks TLS'));
  else findings.push(ok('tls', 'TLS ends in front of the gateway, which is reached in the clear'));
  if (tls?.certificate === undefined) {
    if (wanted)
      findings.push(
        unknown(
          'certificate_not_tried',
          'routes take certificate-bound tokens',
          'Pass --certificate and --certificate-key to try it.',
        ),
      );
    return findings;
  }
  const expected = createHash('sha256').update(new X509Certificate(tls.certificate).raw).digest('base64url');
  if (connection.certificate === expected) findings.push(ok('certificate', 'the client certificate arrives'));
  else {
    const how = connection.tls
      ? 'Set listen.tls.client_certificates to optional or required.'
      : connection.front_proxy
        ? 'Let the load balancer ask for client certificates and pass them in the field that listen.front_proxies names.'
        : 'Let the load balancer forward client certificates (RFC 9440 Client-Cert or its kin), and name it in listen.front_proxies; or pass TLS through to the gateway.';
    findings.push(
      problem(
        connection.certificate === null ? 'certificate_missing' : 'certificate_changed',
        connection.certificate === null ? 'the client certificate does not arrive' : 'another certificate arrives',
        how,
      ),
    );
  }
  return findings;
}
