import type { TestGateway } from './gateway.ts';

/** How many refusals of a gateway wait for their turn. */
export async function refusalsWaiting({ gateway }: TestGateway): Promise<number> {
  const families = (await gateway.metricsSnapshot()) as unknown as { name: string; values: { value: number }[] }[];
  return families.find(({ name }) => name === 'sallyport_refusals_waiting')?.values[0]?.value ?? Number.NaN;
}
