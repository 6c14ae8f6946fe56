// A step of a job with the client of Kubernetes, which finds the cluster by KUBECONFIG.
//   node kubernetes.mjs            lists the pods of the namespace shop, and creates a config map
//   node kubernetes.mjs secrets    lists its secrets
import { CoreV1Api, KubeConfig } from '@kubernetes/client-node';

const config = new KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(CoreV1Api);
const namespace = 'shop';
try {
  if (process.argv[2] === 'secrets')
    console.log(JSON.stringify((await core.listNamespacedSecret({ namespace })).items));
  else {
    const pods = (await core.listNamespacedPod({ namespace })).items.map((pod) => pod.metadata.name);
    const body = { metadata: { name: `release-${process.pid}` }, data: { ref: 'main' } };
    const { data } = await core.createNamespacedConfigMap({ namespace, body });
    console.log(JSON.stringify({ pods, data }));
  }
} catch (error) {
  console.log(`HTTP ${error.code ?? error.message}`);
  process.exitCode = 1;
}
