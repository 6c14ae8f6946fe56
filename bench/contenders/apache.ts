import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HOST } from '../requests.ts';
import type { Contender, Setting } from './contender.ts';
import { startRedisFor } from './redis.ts';

const MODULES = '/usr/lib/apache2/modules';
const LOADED = ['mpm_event', 'authn_core', 'authz_core', 'authz_user', 'proxy', 'proxy_http', 'oauth2'];

/** Apache httpd with mod_oauth2: token and DPoP proof verified in C, jti in Redis, no policy and no `ath`. */
export async function startApache(setting: Setting, redisCpus: string | undefined): Promise<Contender> {
  const { place, caller, upstreamPort, cpus } = setting;
  const redis = await startRedisFor('apache', place, redisCpus);
  const port = Number(caller.authority.slice(HOST.length + 1));
  const root = join(place.folder, 'apache');
  mkdirSync(root);
  const file = join(root, 'httpd.conf');
  const modules = LOADED.map((name) => `LoadModule ${name}_module ${MODULES}/mod_${name}.so`);
  const verify = 'type=dpop&dpop.cache=proofs&dpop.expiry=3600&dpop.iat.slack.before=3600&dpop.iat.slack.after=10';
  writeFileSync(
    file,
    `${modules.join('\n')}
ServerRoot ${root}
DefaultRuntimeDir ${root}
PidFile ${join(root, 'httpd.pid')}
Mutex file:${root}
ErrorLog /dev/stderr
LogLevel crit
Listen 127.0.0.1:${port}
ServerName ${HOST}
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 60
StartServers 1
ServerLimit 1
ThreadsPerChild 64
MaxRequestWorkers 64
OAuth2CryptoPassphrase bench
OAuth2Cache redis "name=proofs&host=127.0.0.1&port=${redis.port}"
<Location />
  AuthType oauth2
  OAuth2AcceptTokenIn header "name=Authorization&type=DPoP"
  OAuth2TokenVerify jwk '${JSON.stringify(caller.issuerJwk)}' "${verify}"
  Require valid-user
</Location>
ProxyPass / http://127.0.0.1:${upstreamPort}/ keepalive=On
`,
  );
  const program = await place.start({
    name: 'apache',
    command: 'apache2',
    args: ['-f', file, '-D', 'FOREGROUND'],
    port,
    cpus,
  });
  return { name: 'Apache httpd + mod_oauth2', program, redis, checks: { token: true, proof: true, replay: true } };
}
