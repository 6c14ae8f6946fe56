/**
 * The public API: start a gateway from a program, and the table of reasons. Everything else may change between minor versions.
 * `sallyport gateway` does no more than this with a file.
 */
export { loadGatewayConfig, parseGatewayConfig } from './config/load.ts';
export { ConfigError, type ConfigProblem } from './config/problems.ts';
export type { GatewayConfig } from './config/schema.ts';
export { type GatewayOptions, type RunningGateway, startGateway } from './gateway/gateway.ts';
export { REASONS, type Reason, type ReasonRow } from './kernel/reasons.ts';
export { createLog, type Log } from './telemetry/log.ts';
