// One clock for the page and its workers.
//
// Knows the browser's timers. Invariant: a moment has the same number in a worker and in its page.

/** Milliseconds since 1970. */
export const clock = () => performance.timeOrigin + performance.now();
