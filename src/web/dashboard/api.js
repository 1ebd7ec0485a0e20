// The control API as the page asks it. Paths are relative to the page, so it works under any prefix.

const BASE = new URL(".", document.baseURI);
/** Nobody waits longer for an answer. */
const PATIENCE_MS = 20_000;
const KEPT = "holdline token";

let token = sessionStorage.getItem(KEPT) ?? "";
/** How far the server's clock is ahead of ours; small differences are only the answer's way. */
let ahead = 0;

/** What the API refused, in its own words. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? `the server answered ${status}`);
    this.status = status;
    this.code = problem.code;
  }
}

/** The server could not be asked at all. */
export class Unreachable extends Error {}

export function hasToken() {
  return token !== "";
}

/** Kept until the tab is closed. */
export function keepToken(text) {
  token = text;
  if (text) sessionStorage.setItem(KEPT, text);
  else sessionStorage.removeItem(KEPT);
}

/** The time by the server's clock, in milliseconds. */
export function now() {
  return Date.now() + ahead;
}

export function address(path) {
  return new URL(path.replace(/^\//, ""), BASE).href;
}

export function headers(more) {
  return token ? { ...more, authorization: `Bearer ${token}` } : { ...more };
}

export async function get(path, query) {
  return (await ask("GET", withQuery(path, query))).json();
}

/** The answer itself, for what is no JSON. */
export async function fetchFile(path) {
  return ask("GET", path);
}

/** The same `key` again has the same answer and one effect: a click that is repeated is safe. */
export async function post(path, body, key = crypto.randomUUID?.() ?? String(Math.random())) {
  const answer = await ask("POST", path, body === undefined ? undefined : JSON.stringify(body), {
    "idempotency-key": key,
    ...(body === undefined ? {} : { "content-type": "application/json" }),
  });
  return answer.status === 204 ? null : answer.json();
}

/** Path segments of whatever came from outside. */
export function path(strings, ...parts) {
  return strings.reduce((made, string, at) => made + encodeURIComponent(parts[at - 1]) + string);
}

function withQuery(path, query) {
  const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(given).toString();
  return text ? `${path}?${text}` : path;
}

async function ask(method, path, body, more) {
  let answer;
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    answer = await fetch(address(path), { method, body, headers: headers(more), signal, cache: "no-store" });
  } catch (error) {
    throw new Unreachable(`the server does not answer (${error.message})`);
  }
  const date = Date.parse(answer.headers.get("date") ?? "");
  if (!Number.isNaN(date)) {
    const difference = date - Date.now();
    ahead = Math.abs(difference) > 2_000 ? difference : 0;
  }
  if (answer.ok) return answer;
  throw new Refused(answer.status, await answer.json().catch(() => ({})));
}
