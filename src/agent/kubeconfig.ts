import type { ApiPlace } from './environment.ts';

/**
 * A kubeconfig for the clusters of the job, in JSON, which is YAML too. The secret is part of the server's URL, since clients of Kubernetes
 * send no token over plain http; where one insists on having a token, it gets the placeholder.
 */
export function kubeconfigFor(clusters: readonly ApiPlace[], placeholder: string): string {
  const [first] = clusters;
  return `${JSON.stringify(
    {
      apiVersion: 'v1',
      kind: 'Config',
      // There is no TLS on loopback; the client of Kubernetes for Node.js takes http only with this word.
      clusters: clusters.map(({ name, url }) => ({
        name,
        cluster: { server: url, 'insecure-skip-tls-verify': true },
      })),
      users: [{ name: 'job', user: { token: placeholder } }],
      contexts: clusters.map(({ name }) => ({ name, context: { cluster: name, user: 'job' } })),
      'current-context': first?.name ?? '',
    },
    null,
    2,
  )}\n`;
}
