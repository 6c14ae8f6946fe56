declare module 'dynalite' {
  import type { Server } from 'node:http';

  /** A server of DynamoDB's protocol, in memory. */
  export default function dynalite(options?: { readonly createTableMs?: number }): Server;
}
