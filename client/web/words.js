// What the page says: figures, places in a queue, and every error in clear words with what can be done about it.
//
// Knows codes and numbers; nothing of documents. Invariant: what was not measured is a dash, and an error whose code is
// not known here is told in the server's own words.

/** Milliseconds for people: "840 ms", "1.2 s", "–" for what was not measured. @param {number | null | undefined} value */
export function duration(value) {
  if (value === null || value === undefined) return "–";
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
}

/** Seconds of media as on a counter: "0:07.3", "12:40.0". @param {number} seconds @param {number} digits */
export function timecode(seconds, digits = 1) {
  const tenths = Math.round(Math.max(0, seconds) * 10 ** digits) / 10 ** digits;
  const minutes = Math.floor(tenths / 60);
  return `${minutes}:${(tenths - minutes * 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0")}`;
}

/** @param {number | null | undefined} value @param {string} unit */
export function figure(value, unit = "") {
  return value === null || value === undefined ? "–" : `${value.toFixed(1)}${unit}`;
}

/** When something was, as people say it. @param {number} then @param {number} now both in seconds since 1970 */
export function ago(then, now) {
  const seconds = Math.max(0, now - then);
  for (const [size, one, many] of /** @type {[number, string, string][]} */ ([
    [86400, "a day", "days"], [3600, "an hour", "hours"], [60, "a minute", "minutes"],
  ])) {
    const count = Math.floor(seconds / size);
    if (count >= 1) return count === 1 ? `${one} ago` : `${count} ${many} ago`;
  }
  return "just now";
}

/** Where a take stands that has no place yet. @param {{position: number, waiting: number}} place */
export function waiting({ position, waiting: all }) {
  if (position <= 1) return "All places are taken. This take is next.";
  return `All places are taken. This take is number ${position} of ${all} that wait.`;
}

/** What to expect of a server that goes away. @param {{deadline_seconds: number}} message */
export function draining({ deadline_seconds: seconds }) {
  const time = seconds > 0 ? `in at most ${Math.ceil(seconds)} seconds` : "now";
  return `The server is shutting down. This take ends ${time}.`;
}

/** A warning, kindly. @param {{code: string, message: string, kept_characters?: number}} warning */
export function advice(warning) {
  if (warning.code === "words_unknown") return `${warning.message} Try a word from the suggestions.`;
  if (warning.code === "prompt_truncated" && warning.kept_characters) {
    return `Only the first ${warning.kept_characters} characters of this prompt are read by the model.`;
  }
  return warning.message;
}

/** @type {Record<string, string>} */
const WORDS = {
  resume_token_invalid: "The take goes on somewhere else.",
  session_unknown: "The server does not keep this take any more.",
  session_ended: "The take ended while the connection was lost.",
  capacity: "All places are taken at the moment.",
  session_elsewhere: "Another server has this take. Try again.",
  worker_unavailable: "The model is not ready yet.",
  worker_died: "The engine stopped in the middle of the take and is being started again.",
  server_draining: "The server is shutting down.",
  slow_consumer: "The connection is too slow for the picture, so the server ended the take.",
  idle_timeout: "Nothing was heard from this page for too long, so the server ended the take.",
  start_timeout: "The server waited too long for the first prompt.",
  connection_replaced: "The take goes on in another window.",
  prompt_empty: "The prompt is empty. Write what is to be seen.",
  interactions_full: "Too many prompts are waiting. Let some of them happen first.",
  rate_limited: "That was too fast. Wait a moment.",
  length_limit: "The take would be longer than the server allows.",
  picture_invalid: "This file is no picture that can be read. PNG, JPEG and WebP can.",
  picture_too_large: "This picture is too large.",
  opening_unsupported: "This model cannot start from a picture.",
  latents_missing: "What this take was made from is no longer kept.",
  recording_failed: "The recording could not be made.",
  key_missing: "The service asks for a key.",
  key_invalid: "This key is not known here, or was revoked.",
  scope_missing: "Your key is not good for this.",
  quota_exceeded: "Your key has used up what it may for now.",
  not_director: "Somebody else directs this take.",
  internal_error: "Something went wrong in the server.",
};

/**
 * An error of the server in clear words, with what can be done about it.
 * @param {{code: string, message?: string, fatal?: boolean, retryable?: boolean, retry_after?: number}} error
 */
export function explain(error) {
  const words = WORDS[error.code] ?? error.message ?? "Something went wrong.";
  if (!error.fatal) return words;
  if (!error.retryable) return `${words} The take has ended.`;
  const seconds = error.retry_after ?? 0;
  return `${words} Press Action to try again ${seconds > 0 ? `in ${Math.ceil(seconds)} seconds` : "in a moment"}.`;
}
