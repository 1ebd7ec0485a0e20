// What happened to a call, line by line, in the words of the API's timeline.

import { h } from "./dom.js";
import { button } from "./parts.js";
import { instant, line, plain, span } from "./words.js";

/** Rows that are shown at first, and that come with each wish for earlier ones. */
const PAGE = 200;
/** Rows in the page at once, whatever somebody wishes. */
const ROWS_MAX = 1_000;

const KINDS = [
  ["", "Everything"],
  ["step", "Steps"],
  ["network", "Network"],
  ["person", "Caller"],
  ["trouble", "Trouble"],
];

/** A timeline that keeps how much of it is shown. */
export function timeline(redraw) {
  let most = PAGE;
  let kind = "";

  const choose = (event) => {
    kind = event.target.value;
    redraw();
  };

  return {
    filter: () => h("select", { "aria-label": "What is shown of the timeline", on: { change: choose } },
      KINDS.map(([word, text]) => h("option", { value: word, selected: word === kind, key: word }, text))),
    view(told, flows) {
      if (!told) return h("p.faint.pad", {}, "Reading…");
      const numbered = told.result.map((row, index) => ({ row, number: told.dropped + index, ...said(row, flows) }));
      const fitting = numbered.filter((entry) => !kind || entry.kind === kind || (kind === "trouble" && entry.bad));
      const shown = fitting.slice(-most);
      const earlier = fitting.length - shown.length;
      return h("div.timeline", { created: stick, on: { scroll: watch } },
        earlier > 0 && h("div.earlier", {}, most < ROWS_MAX
          ? button(`Show earlier (${earlier})`, () => { most = Math.min(most + PAGE, ROWS_MAX); redraw(); })
          : h("span.small", {}, `${earlier} earlier rows are in the exported file.`)),
        h("ol", { "aria-label": "Timeline" }, shown.map(rowOf)),
        !shown.length && h("p.faint.pad", {}, "Nothing of this kind."));
    },
  };
}

/** Whoever looks at the end stays there when something is added. */
function stick(node) {
  node.stays = true;
  const follow = () => {
    if (node.stays) node.scrollTop = node.scrollHeight;
  };
  new MutationObserver(follow).observe(node, { childList: true, subtree: true });
  queueMicrotask(follow);
}

function watch(event) {
  const node = event.currentTarget;
  node.stays = node.scrollHeight - node.scrollTop - node.clientHeight < 24;
}

function rowOf({ row, number, kind, bad, faint, title, text }) {
  return h("li", { key: number, class: `${kind}${bad ? " bad" : ""}${faint ? " quiet" : ""}`, "data-event": row.event },
    instant(row.at), h("span.dot", { "aria-hidden": "true" }),
    h("span.what", {}, h("b", {}, title), text ? " " : "", text && h("span.text", {}, text)));
}

/** A row as people say it: `{ kind, title, text, bad, faint }`. */
export function said(row, flows = {}) {
  const flow = (id) => flows[id] ?? "workflow";
  const step = () => (row.action?.name ? `${row.action.name} ` : "");
  const act = () => row.action?.type ?? "";
  switch (row.event) {
    case "call_arrived": return { kind: "network", title: "Call", text: `${row.from} → ${row.to}, ${row.direction}, for ${row.workflow}` };
    case "call_rejected": return { kind: "network", bad: true, title: "Turned away" };
    case "status": return { kind: "network", title: "Network", text: `says ${row.status}${row.duration === null ? "" : ` after ${row.duration} s`}` };
    case "document": return { kind: "network", title: `Document ${row.exchange}`, text: document(row) };
    case "returned": return { kind: "network", faint: true, title: "Back", text: `from document ${row.exchange}` };
    case "stream_started": return { kind: "network", title: "Stream up", text: row.stream_sid };
    case "stream_ended": return { kind: "network", title: "Stream down", text: row.stopped ? "stopped by the network" : "" };
    case "digits": return { kind: "person", title: `Presses ${row.digits}` };
    case "recording_started": return { kind: "person", title: "Recording", text: `begins: ${row.file}` };
    case "recording_ended": return { kind: "person", title: "Recording", text: `of ${span(row.seconds * 1000)}, ended by ${plain(row.ended_by)}`, bad: row.ended_by === "failed" };
    case "recording_news": return { kind: "network", title: "Network’s recording", text: row.status };
    case "said": return { kind: "person", title: "Said from outside", text: `“${row.text}”${row.deferred ? ", in the next document" : ""}` };
    case "call_ends": return { kind: "network", title: "Ends", text: plain(row.end_reason) };
    case "call_over": return { kind: "network", title: "Over", text: plain(row.end_reason) };
    case "completion_taken": return { kind: "step", faint: true, title: "Completion", text: "is taken by the main workflow" };
    case "child_status": return { kind: "network", title: "Other leg", text: `${row.status} (${row.sid})` };
    case "stream_news": return { kind: "network", title: "Stream", text: [row.what, row.error].filter(Boolean).join(": "), bad: Boolean(row.error) };
    case "conference": return { kind: "network", title: "Conference", text: [row.conference, plain(row.what), row.label ?? row.who, row.reason].filter(Boolean).join(", ") };
    case "asked_network": return { kind: "network", title: "Asked the network", text: `${line(row.asked)}: ${line(row.said)}` };
    case "trouble": return { kind: "trouble", bad: true, title: "Trouble", text: row.what };
    case "main_waits": return { kind: "step", faint: true, title: "Main workflow", text: "waits for the call’s end" };
    case "main_goes_on": return { kind: "step", title: "Main workflow", text: "goes on with the completion" };
    case "flow_began": return { kind: "step", title: row.flow_id ?? "Actions", text: "begins" };
    case "flow_over": return { kind: "step", bad: row.end_reason === "failed" || row.end_reason === "limit", title: flow(row.activeflow_id), text: [plain(row.end_reason), row.end_detail].filter(Boolean).join(": ") };
    case "flow_retried": return { kind: "step", title: "Retry", text: "of a failed activeflow" };
    case "step_began": return { kind: "step", faint: true, title: `${step()}${act()}`, text: "begins" };
    case "step": return { kind: "step", bad: row.outcome === "failed", title: `${step()}${act()}`, text: outcome(row) };
    case "retry": return { kind: "step", bad: true, title: `${step()}${act()}`, text: `fails (${row.error?.class}: ${row.error?.message}); again at ${new Date(row.due).toLocaleTimeString()}` };
    case "actions_pushed": return { kind: "step", title: "Pushed", text: `${row.actions} actions` };
    case "variables_set": return { kind: "step", title: "Variables", text: `${row.names.join(", ")} set` };
    default: return { kind: "network", title: plain(row.event), text: line(Object.fromEntries(Object.entries(row).filter(([name]) => !["at", "event", "activeflow_id"].includes(name)))) };
  }
}

function outcome(row) {
  const parts = [plain(row.outcome)];
  if (row.attempts > 1) parts[0] += ` after ${row.attempts} attempts`;
  if (row.error) parts.push(`${row.error.class}: ${row.error.message}`);
  const { output } = row;
  if (output && typeof output === "object") {
    for (const [name, value] of Object.entries(output)) {
      if (value !== null && value !== "" && typeof value !== "object") parts.push(`${plain(name)} ${line(value, 80)}`);
    }
  } else if (output !== undefined && output !== null) parts.push(line(output));
  return parts.join(", ");
}

/** The verbs of a document, and how it ends. */
function document({ verbs, ending }) {
  const words = verbs.map((verb) => (typeof verb === "string" ? verb : verbOf(...Object.entries(verb)[0])));
  const ends = { stream: "opens a stream", return: "", hangup: "hangs up", reject: "rejects" }[ending] ?? ending;
  return [...words, ends].filter(Boolean).join(", ");
}

function verbOf(name, given) {
  if (name === "say") return `says “${line(given.text, 90)}”`;
  if (name === "gather") return ["gathers", ...(given.prompts ?? []).map((prompt) => verbOf(...Object.entries(prompt)[0]))].join(", ");
  if (name === "dial") return `dials ${(given.nouns ?? []).map((noun) => noun.target ?? noun.type).join(", ")}`;
  if (name === "play") return `plays ${line(given.url ?? "", 60)}`;
  return plain(name);
}
