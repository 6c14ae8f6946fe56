/** Waits for a result for so many milliseconds at most. What comes later goes unheard, but goes on. */
export async function within<T>(milliseconds: number, result: Promise<T>, late: T): Promise<T> {
  const { promise, resolve } = Promise.withResolvers<T>();
  const timer = setTimeout(() => resolve(late), milliseconds);
  try {
    return await Promise.race([result, promise]);
  } finally {
    clearTimeout(timer);
  }
}
