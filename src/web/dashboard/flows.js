// Workflows, with what is wrong with them; and one of them, drawn.

import { get, path } from "./api.js";
import { h } from "./dom.js";
import { graph } from "./graph.js";
import { cell, command, empty, pager, panel, row, rows, tree } from "./parts.js";
import { moment, state } from "./words.js";

const PAGE = 50;
/** Problems of one workflow that are shown. */
const PROBLEMS_MAX = 200;

export function flowsPage({ again }) {
  let [back, at] = [[], ""];
  let list = null;

  function go({ back: before, at: place, forward }) {
    back = forward ? [...back, at] : before;
    at = place;
    again();
  }

  return {
    title: "Workflows",
    concerns: (news) => news.type.startsWith("flow."),
    async load() {
      list = await get("v1/flows", { page_size: PAGE, page_token: at });
    },
    view() {
      return [
        h("div.title", {}, h("h1", {}, "Workflows")),
        !list ? h("p.faint", { role: "status" }, "Reading…")
          : list.result.length ? rows("Workflows", "flows", ["Check", "Workflow", "Label", "Source", "Changed"], list.result.map(flowRow))
            : empty("No workflow yet", h("p", {}, "Put a YAML file into the folder of ", command("[flows] dir"), ", or send one by ", command("PUT /v1/flows/{id}"), ".")),
        list && pager({ back, next: list.next_page_token, go }),
      ];
    },
  };
}

function flowRow(flow) {
  return row(flow.id, `#/workflows/${encodeURIComponent(flow.id)}`,
    cell("state-cell", null, verdict(flow)),
    cell("workflow", "Workflow", h("b", {}, flow.id)),
    cell("label-cell", "Label", flow.label ?? ""),
    cell("of", "Source", flow.source === "file" ? "file" : "API"),
    cell("when", null, moment(flow.tm_update)));
}

function verdict({ errors, warnings }) {
  const count = (list, word) => `${list.length} ${word}${list.length === 1 ? "" : "s"}`;
  if (errors.length) return state(count(errors, "error"), "bad");
  if (warnings.length) return state(count(warnings, "warning"), "warned");
  return state("good", "over");
}

export function flowPage({ id, draw }) {
  let flow = null;
  let outline = null;
  const drawing = graph("Workflow", draw);

  return {
    get title() {
      return flow?.id ?? "Workflow";
    },
    concerns: (news) => news.type.startsWith("flow."),
    async load() {
      const [found, drawn] = await Promise.all([
        get(path`v1/flows/${id}`),
        get(path`v1/flows/${id}/outline`).catch((error) => {
          if (error.status === 404) return null;
          throw error;
        }),
      ]);
      if (JSON.stringify(drawn) !== JSON.stringify(outline)) outline = drawn;
      flow = found;
    },
    view() {
      if (!flow) return h("p.faint", { role: "status" }, "Reading…");
      const problems = [...flow.errors.map((problem) => [problem, "error"]), ...flow.warnings.map((problem) => [problem, "warning"])];
      return [
        h("div.title.of-call", {}, h("div.names", {},
          h("p.crumb", {}, h("a", { href: "#/workflows" }, "Workflows")),
          h("h1", {}, flow.id),
          h("p.facts", {}, verdict(flow), h("span", {}, flow.source === "file" ? "from a file" : "by the API"), h("span", {}, moment(flow.tm_update)),
            h("a", { href: `#/calls?workflow=${encodeURIComponent(id)}` }, "calls"), h("a", { href: `#/activeflows?flow_id=${encodeURIComponent(id)}` }, "activeflows")),
          flow.label && h("p", {}, flow.label),
          flow.document?.description && h("p.faint", {}, flow.document.description))),
        problems.length > 0 && panel("Problems", String(problems.length), h("ul.problems", {}, problems.slice(0, PROBLEMS_MAX).map(problemRow)),
          flow.errors.length > 0 && outline && h("p.small.body", {}, "The version before it is still in force, and drawn here.")),
        h("div.columns", {},
          h("div.column", {}, panel("Workflow", null, outline ? drawing(outline, null) : h("p.faint.pad", {}, "None is in force that could be drawn."))),
          h("div.column", {}, panel("Document", null, h("div.body", {}, flow.document ? tree(flow.document) : h("p.faint", {}, "It can’t be read."))))),
      ];
    },
  };
}

function problemRow([problem, kind], index) {
  return h("li", { key: index, class: kind }, state(kind, kind === "error" ? "bad" : "warned"),
    h("div", {}, h("p", {}, problem.message, problem.suggestion && h("span.faint", {}, ` Did you mean “${problem.suggestion}”?`)),
      h("p.small", {}, h("code", {}, `${problem.file}:${problem.line}:${problem.column}`), " ", h("code", {}, problem.path))));
}
