// Activeflows of every kind: those of calls, main workflows, and those begun by the API.

import { get, path, post } from "./api.js";
import { h } from "./dom.js";
import { cell, choice, command, empty, pager, row, rows } from "./parts.js";
import { action, between, moment, runState, since } from "./words.js";

const PAGE = 30;

export const KINDS = { call: "call", workflow: "main workflow", api: "API", recording: "recording" };

export function runLink(id, text) {
  return h("a", { href: `#/activeflows/${encodeURIComponent(id)}` }, text);
}

/** A failed one goes on as a new activeflow, whose page is opened. */
export async function retry(id, { tell, again, open }) {
  try {
    const made = await post(`${path`v1/activeflows/${id}`}/retry`, {});
    tell("Retried: it goes on as a new activeflow.");
    if (open) open(`#/activeflows/${made.id}`);
  } catch (error) {
    tell(error.message, true);
  }
  again();
}

export function runsPage({ query, again, navigate }) {
  let filter = read(query);
  let [back, at] = [[], ""];
  let list = null;
  let workflows = [];

  function read(query) {
    const of = (name) => query.get(name) ?? "";
    return { show: of("show"), flow_id: of("flow_id"), reference_type: of("reference_type") };
  }

  function change(part) {
    const given = Object.entries({ ...filter, ...part }).filter(([, value]) => value);
    const text = new URLSearchParams(given).toString();
    navigate(text ? `#/activeflows?${text}` : "#/activeflows");
  }

  function go({ back: before, at: place, forward }) {
    back = forward ? [...back, at] : before;
    at = place;
    again();
  }

  /** `running` is a status, `failed` an end: one choice for people. */
  const shown = () => ({ "": {}, running: { status: "running" } })[filter.show] ?? { end_reason: filter.show };

  function filters() {
    const known = [["", "All workflows"], ...workflows.map((id) => [id, id])];
    if (filter.flow_id && !workflows.includes(filter.flow_id)) known.push([filter.flow_id, filter.flow_id]);
    return h("div.filters", { role: "search" },
      choice("Show", filter.show, [["", "All"], ["running", "Running"], ["failed", "Failed"], ["completed", "Completed"], ["stopped", "Stopped"], ["call_ended", "Call ended"], ["limit", "Limit"]], (show) => change({ show })),
      choice("Workflow", filter.flow_id, known, (flow_id) => change({ flow_id })),
      choice("Of", filter.reference_type, [["", "Anything"], ...Object.entries(KINDS)], (reference_type) => change({ reference_type })));
  }

  return {
    title: "Activeflows",
    concerns: (news) => news.type.startsWith("activeflow."),
    asked(query) {
      filter = read(query);
      [back, at] = [[], ""];
    },
    async load() {
      const { flow_id, reference_type } = filter;
      const [found, flows] = await Promise.all([
        get("v1/activeflows", { ...shown(), flow_id, reference_type, page_size: PAGE, page_token: at }),
        workflows.length ? null : get("v1/flows", { page_size: 100 }).catch(() => null),
      ]);
      list = found;
      if (flows) workflows = flows.result.map((flow) => flow.id).sort();
    },
    view() {
      const filtered = Object.values(filter).some(Boolean);
      return [
        h("div.title", {}, h("h1", {}, "Activeflows"), filters()),
        !list ? h("p.faint", { role: "status" }, "Reading…")
          : list.result.length ? runRows(list.result)
            : empty(filtered ? "No activeflow fits the filter" : "No activeflow yet",
              !filtered && h("p", {}, "Every call begins one, and so does ", command("POST /v1/activeflows"), ".")),
        list && pager({ back, next: list.next_page_token, go }),
      ];
    },
  };
}

function runRows(runs) {
  return rows("Activeflows", "runs", ["State", "Workflow", "Of", "Step or end", "When", "Time"],
    runs.map((run) => row(run.id, `#/activeflows/${encodeURIComponent(run.id)}`,
      cell("state-cell", null, runState(run)),
      cell("workflow", "Workflow", run.flow_id ?? h("span.faint", {}, "actions")),
      cell("of", "Of", KINDS[run.reference_type] ?? run.reference_type),
      cell("step", "Step", run.status === "running" ? action(run.current_action) : run.end_detail ?? ""),
      cell("when", null, moment(run.tm_create)),
      cell("time", null, run.tm_end ? between(run.tm_create, run.tm_end) : since(run.tm_create)))));
}
