// Times, lengths and the words of the API, as people read them.

import { h } from "./dom.js";
import { now } from "./api.js";

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const short = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

/** `0:42`, `12:05`, `1:02:03`. */
export function length(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

/** `380 ms`, `2.9 s`, `4:05`. */
export function span(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : length(ms);
}

/** How long it has been since a time, for as long as it is shown: the page's clock keeps it going. */
export function since(text) {
  const from = Date.parse(text);
  return h("time.ticks", { "data-since": from, datetime: text }, length(now() - from));
}

export function between(from, to) {
  return length(Date.parse(to) - Date.parse(from));
}

/** A moment today by its time, another one by its day as well; the whole of it on asking. */
export function moment(text) {
  if (!text) return "";
  const at = new Date(text);
  const today = at.toDateString() === new Date(now()).toDateString();
  const shown = today ? short.format(at) : `${day.format(at)}, ${short.format(at)}`;
  return h("time", { datetime: text, title: whole.format(at) }, shown);
}

/** To the millisecond, as a timeline needs it. */
export function instant(text) {
  const at = new Date(text);
  const ms = String(at.getMilliseconds()).padStart(3, "0");
  return h("time", { datetime: text, title: whole.format(at) }, clock.format(at), h("span.ms", {}, `.${ms}`));
}

/** Keeps every running length going, once a second. */
export function tick(root) {
  for (const node of root.querySelectorAll("time.ticks")) {
    const text = length(now() - Number(node.dataset.since));
    if (node.firstChild && node.firstChild.data !== text) node.firstChild.data = text;
  }
}

/** `max_duration` as it is said. */
export function plain(word) {
  return String(word ?? "").replaceAll("_", " ");
}

/** An action by its name if it has one, and its type. */
export function action(step) {
  if (!step) return h("span.faint", {}, "–");
  const kind = h("span.kind", {}, step.type);
  return step.name ? h("span.action", {}, h("span.name", {}, step.name), " ", kind) : h("span.action", {}, kind);
}

/** Any value on one line, cut where nobody reads on. */
export function line(value, most = 160) {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text === undefined ? "" : text.length > most ? `${text.slice(0, most)}…` : text;
}

/** A state with its mark; the colour only repeats what the word says. */
export function state(word, tone) {
  return h("span.state", { class: tone }, h("span.dot", { "aria-hidden": "true" }), plain(word));
}

export function callState(call) {
  if (call.state === "ended") return state(call.end_reason ?? "ended", BAD_ENDS.has(call.end_reason) ? "bad" : "over");
  return state(call.state, "live");
}

export function runState(run) {
  if (run.status === "running") return state("running", "live");
  return state(run.end_reason ?? "ended", run.end_reason === "failed" || run.end_reason === "limit" ? "bad" : "over");
}

const BAD_ENDS = new Set(["failed", "internal", "no_return", "idle_timeout"]);
