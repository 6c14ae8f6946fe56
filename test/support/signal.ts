/**
 * Sends a signal to one process. Throws when there is none to send it to: for kill(2) the number 0 and negative ones are a
 * whole process group, that of the test runner included.
 */
export function sendSignal(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined || !Number.isInteger(pid) || pid <= 1) throw new Error(`no process for ${signal}: ${pid}`);
  process.kill(pid, signal);
}
