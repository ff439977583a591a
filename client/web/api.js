// What the page asks over HTTP, always beside itself, so that a path prefix stays.
//
// Knows addresses and problems; nothing of documents. Invariants: an answer that is no success is a Problem with the
// server's code; a key is kept for this window only.

const KEY = "longtake.key";

/** What the server refused, and why. */
export class Problem extends Error {
  /** @param {string} code @param {string} message @param {number} status */
  constructor(code, message, status) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

export const apiKey = () => sessionStorage.getItem(KEY) ?? "";

/** @param {string} key */
export function setApiKey(key) {
  if (key === "") sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, key);
}

/**
 * @param {string} path
 * @param {{method?: string, json?: unknown, body?: Blob, headers?: Record<string, string>, signal?: AbortSignal}} options
 */
export async function ask(path, { method = "GET", json, body, headers = {}, signal } = {}) {
  const sent = { ...headers };
  if (json !== undefined) sent["Content-Type"] = "application/json";
  if (apiKey() !== "") sent.Authorization = `Bearer ${apiKey()}`;
  const content = json === undefined ? body : JSON.stringify(json);
  let answer;
  try {
    answer = await fetch(path, { method, headers: sent, body: content, signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem("unreachable", "The server cannot be reached. Is it running?", 0);
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Problem(problem.code ?? "http", problem.detail ?? `The server answered ${answer.status}.`, answer.status);
}

/** @param {string} path @param {Parameters<typeof ask>[1]} options */
export async function askJson(path, options = {}) {
  return (await ask(path, options)).json();
}

/** A file of the server's as an address for this page; revoke it when it is done with. @param {string} path */
export async function blobUrl(path) {
  return URL.createObjectURL(await (await ask(path)).blob());
}

/** Hand a file to the person. @param {Blob | string} content @param {string} name */
export function save(content, name) {
  const blob = typeof content === "string" ? new Blob([content], { type: "application/json" }) : content;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
