import { z } from 'zod';
import { policyInputSchema } from '../../src/policy/input_schema.ts';

/** The JSON Schema of the policy input, in the dialect that OPA's type checker reads. */
export function policyInputJsonSchema(): string {
  const { $schema, ...schema } = z.toJSONSchema(policyInputSchema, { target: 'draft-7' });
  return `${JSON.stringify({ $schema, title: 'Sallyport policy input, version 1', ...schema }, null, 2)}\n`;
}
