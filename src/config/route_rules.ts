import type { z } from 'zod';
import type { issuer } from './issuer_schema.ts';
import type { SettingProblem } from './problems.ts';
import { covers } from './request_headers.ts';
import type { route } from './route_schema.ts';

type Route = z.output<typeof route>;

/** What of a route does not fit together, with itself, with the others and with the issuers. */
export function findRouteProblems(
  routes: readonly Route[],
  issuers: readonly z.output<typeof issuer>[],
): SettingProblem[] {
  const opaque = issuers
    .filter(({ introspection }) => introspection !== undefined && introspection.when !== 'jwt')
    .map((entry) => entry.issuer);
  return routes.flatMap((entry, index) => {
    const repeated = routes.findIndex((other) => other.name === entry.name) !== index;
    const problems: SettingProblem[] = repeated ? [{ path: ['name'], message: 'this name is used twice' }] : [];
    problems.push(...findTransportProblems(entry), ...findOpaqueIssuerProblems(entry, opaque));
    return problems.map(({ path, message }) => ({ path: ['routes', index, ...path], message }));
  });
}

function findTransportProblems({ upstream, websocket, trailers, request_headers, methods }: Route): SettingProblem[] {
  const problems: SettingProblem[] = [];
  if (upstream.protocol === 'http2' && websocket) {
    problems.push({
      path: ['websocket'],
      message: 'WebSocket is forwarded by HTTP/1.1: set upstream.protocol: http1',
    });
  }
  if (upstream.protocol === 'http1' && trailers.request.length > 0) {
    problems.push({
      path: ['trailers', 'request'],
      message: 'trailers of requests need upstream.protocol: http2',
    });
  }
  const { refuse, strip } = request_headers;
  const named = trailers.request.find((name) => [...refuse, ...strip].some((one) => covers(one, name)));
  if (named !== undefined) {
    problems.push({
      path: ['trailers', 'request'],
      message: `${named} is refused or taken away by request_headers`,
    });
  }
  const forbidden = methods.find((method) => ['CONNECT', 'TRACE'].includes(method));
  if (forbidden !== undefined) problems.push({ path: ['methods'], message: `${forbidden} is never forwarded` });
  return problems;
}

/** A token sent to another issuer than its own would be in the wrong hands. */
function findOpaqueIssuerProblems({ opaque_issuer: named }: Route, opaque: readonly string[]): SettingProblem[] {
  const problems: SettingProblem[] = [];
  if (named === undefined && opaque.length > 1) {
    const which = `name one of ${opaque.join(', ')}`;
    problems.push({
      path: ['opaque_issuer'],
      message: `several issuers take opaque tokens, which do not say whose they are: ${which}`,
    });
  }
  if (named !== undefined && !opaque.includes(named)) {
    problems.push({
      path: ['opaque_issuer'],
      message: 'expected an issuer of this file whose introspection.when is opaque or always',
    });
  }
  return problems;
}
