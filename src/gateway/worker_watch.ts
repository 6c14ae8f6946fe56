/** Milliseconds between two questions to a worker, and how many in a row may go unanswered: half a minute. */
const EVERY_MS = 5000;
const MAX_UNANSWERED = 6;

/**
 * Watches a worker that is ready: one that answers nothing for half a minute is given up. Whatever it hangs in (a policy that runs without
 * end, a disk that does not come back), connections would still be dealt to it, and their requests wait in vain.
 * @returns ends the watch
 */
export function watchWorker(ask: () => Promise<unknown>, giveUp: () => void): () => void {
  let unanswered = 0;
  let asking = false;
  const timer = setInterval(async () => {
    if (asking) return;
    asking = true;
    unanswered = (await ask()) === null ? unanswered + 1 : 0;
    asking = false;
    if (unanswered < MAX_UNANSWERED) return;
    clearInterval(timer);
    giveUp();
  }, EVERY_MS).unref();
  return () => clearInterval(timer);
}
