import type { AgentApiConfig } from '../config/agent_schema.ts';
import type { IssuedToken } from '../oauth/client_credentials.ts';

/** Where the tokens of a job come from: a broker, or an authorization server. */
export interface TokenSource {
  /** Asks for a token. @throws TokenUnavailable */
  request(asked: AskedRights): Promise<IssuedToken>;
  /** Ends the job: what it got is worthless from now on. Null: nothing is left to be done; else why it could not be ended. */
  end(tokens: readonly IssuedToken[]): Promise<string | null>;
}

/** What one API needs. */
export interface AskedRights {
  readonly resource: string;
  readonly scopes: readonly string[];
  readonly authorizationDetails: readonly Readonly<Record<string, unknown>>[];
}

/** There is no token, and why: in words for a person, without anything secret. */
export class TokenUnavailable extends Error {
  override readonly name = 'TokenUnavailable';
  /** Whether asking again later may help: nobody answered, or the other side said so. */
  readonly passing: boolean;

  constructor(message: string, passing: boolean) {
    super(message);
    this.passing = passing;
  }
}

/** What the configuration asks for one API. */
export function askedFor(api: AgentApiConfig): AskedRights {
  return {
    resource: api.resource ?? api.url,
    scopes: api.scopes,
    authorizationDetails: api.authorization_details,
  };
}
