// What a run has done, step by step, with attempts and errors; and its variables.

import { h } from "./dom.js";
import { button, tree } from "./parts.js";
import { instant, line, plain, span } from "./words.js";

const PAGE = 50;
const ROWS_MAX = 1_000;

/** The newest steps of a run, oldest first; the step under way is the last one. */
export function steps(redraw) {
  let most = PAGE;
  return (run) => {
    const all = run.executed_actions ?? [];
    const shown = all.slice(-most);
    const earlier = all.length - shown.length + (run.executed_actions_dropped ?? 0);
    const rows = shown.map((step, index) => stepOf(step, all.length - shown.length + index));
    if (run.current_action) rows.push(stepOf(run.current_action, "current"));
    if (!rows.length) return h("p.faint.pad", {}, "Nothing was done yet.");
    return h("div.steps", {},
      earlier > 0 && h("div.earlier", {}, most < ROWS_MAX && all.length > most
        ? button(`Show earlier (${earlier})`, () => { most = Math.min(most + PAGE * 4, ROWS_MAX); redraw(); })
        : h("span.small", {}, `${earlier} earlier steps are not kept here.`)),
      h("ol", { "aria-label": "Steps" }, rows));
  };
}

function stepOf(step, key) {
  const tone = step.outcome === "failed" ? "bad" : step.outcome ? "over" : "live";
  const took = step.ended_at ? span(Date.parse(step.ended_at) - Date.parse(step.started_at)) : "";
  const more = step.output !== undefined || Object.keys(step.parameters ?? {}).length > 0;
  const head = [
    h("span.state", { class: tone }, h("span.dot", { "aria-hidden": "true" }), plain(step.outcome ?? "under way")),
    h("span.action", {}, step.name && h("span.name", {}, step.name), step.name ? " " : "", h("span.kind", {}, step.type)),
    h("span.figures", {},
      step.attempts > 1 && h("span.attempts", {}, `${step.attempts} attempts`),
      h("span.took", {}, took),
      h("span.at", {}, instant(step.started_at))),
  ];
  return h("li", { key: `${key}`, "data-outcome": step.outcome ?? "current" },
    more
      ? h("details", {}, h("summary", {}, head), h("div.inside", {},
        Object.keys(step.parameters ?? {}).length > 0 && [h("h3", {}, "Parameters"), tree(step.parameters)],
        step.output !== undefined && [h("h3", {}, "Output"), tree(step.output)]))
      : h("div.plain", {}, head),
    step.error && h("p.error", {}, h("b", {}, step.error.class), " ", step.error.message, step.error.output ? ` ${line(step.error.output)}` : ""),
    step.missing?.length > 0 && h("p.small.note", {}, `Variables that were not there: ${step.missing.join(", ")}`));
}

/** Variables, those of the runtime behind the workflow's own. */
export function variables(run) {
  const entries = Object.entries(run.variables ?? {}).map(([name, value]) => [name, value]);
  const ours = ([name]) => /^(call|activeflow|voipbin)(\.|$)/.test(name);
  const own = entries.filter((entry) => !ours(entry));
  const rest = entries.filter(ours);
  return h("div.variables", {},
    own.length ? tree(Object.fromEntries(own)) : h("p.faint", {}, "None of the workflow’s own."),
    rest.length > 0 && h("details", {}, h("summary", {}, `Of the runtime (${rest.length})`), tree(Object.fromEntries(rest))));
}
