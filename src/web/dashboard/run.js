// One activeflow: where it stands, what it has done, with attempts and errors.

import { get, path, post } from "./api.js";
import { h } from "./dom.js";
import { graph } from "./graph.js";
import { button, confirmed, panel, tree } from "./parts.js";
import { KINDS, retry, runLink } from "./runs.js";
import { steps, variables } from "./steps.js";
import { action, between, moment, runState, since } from "./words.js";

export function runPage({ id, draw, again, tell, may, navigate }) {
  let run = null;
  let outline = null;
  const drawing = graph("Workflow", draw);
  const list = steps(draw);

  async function stop() {
    const withCall = run.reference_type === "call" || run.reference_type === "workflow";
    const text = withCall ? "This ends the activeflow now, and its call with it." : "This ends the activeflow now.";
    if (!await confirmed({ title: "Stop it?", text, yes: "Stop" })) return;
    try {
      await post(`${path`v1/activeflows/${id}`}/stop`);
      tell("Stopped.");
    } catch (error) {
      tell(error.message, true);
    }
    again();
  }

  function head() {
    const failed = run.end_reason === "failed" || run.end_reason === "limit";
    const ofCall = run.reference_type === "call" || run.reference_type === "workflow";
    return h("div.title.of-call", {},
      h("div.names", {},
        h("p.crumb", {}, h("a", { href: "#/activeflows" }, "Activeflows")),
        h("h1", {}, run.flow_id ?? "Actions"),
        h("p.facts", {}, runState(run), run.tm_end ? h("span", {}, between(run.tm_create, run.tm_end)) : since(run.tm_create),
          h("span", {}, moment(run.tm_create)), h("span", {}, KINDS[run.reference_type] ?? run.reference_type),
          ofCall && run.reference_id && h("a", { href: `#/calls/${encodeURIComponent(run.reference_id)}` }, "its call"),
          run.flow_id && h("a", { href: `#/workflows/${encodeURIComponent(run.flow_id)}` }, "workflow"),
          run.reference_activeflow_id && runLink(run.reference_activeflow_id, "the activeflow before it"),
          run.retry_of && runLink(run.retry_of, "retry of another one"),
          h("code.sid", {}, run.id))),
      may("operate") && h("div.buttons", {},
        run.status === "running" && button("Stop…", stop, { kind: "danger" }),
        failed && !run.retried_as && button("Retry", () => retry(id, { tell, again, open: navigate }), { kind: "primary" })));
  }

  return {
    get title() {
      return run?.flow_id ?? "Activeflow";
    },
    concerns: (news) => news.subject === id || (run !== null && news.subject === run.reference_id),
    async load() {
      run = await get(path`v1/activeflows/${id}`);
      outline ??= await get(path`v1/activeflows/${id}/outline`);
    },
    view() {
      if (!run) return h("p.faint", { role: "status" }, "Reading…");
      return [
        head(),
        run.end_detail && h("p.end", { class: run.end_reason === "failed" || run.end_reason === "limit" ? "bad" : "" }, run.end_detail),
        run.retried_as && h("p.end", {}, "It was retried: ", runLink(run.retried_as, "see the retry"), "."),
        h("dl.now", { class: run.status === "running" ? "live" : "" },
          h("div.step", {}, h("dt", {}, "Now"), h("dd", {}, run.current_action ? [action(run.current_action), " ", h("span.faint", {}, since(run.current_action.started_at))] : h("span.faint", {}, "–"))),
          h("div", {}, h("dt", {}, "Steps"), h("dd", {}, (run.executed_actions?.length ?? 0) + (run.executed_actions_dropped ?? 0))),
          h("div", {}, h("dt", {}, "Resumed"), h("dd", {}, `${run.execute_count}×`))),
        h("div.columns", {},
          h("div.column", {}, panel("Workflow", null, drawing(outline, run))),
          h("div.column", {},
            panel("Steps", null, list(run)),
            Object.keys(run.outputs ?? {}).length > 0 && panel("Outputs", null, h("div.body", {}, tree(run.outputs))),
            panel("Variables", null, h("div.body", {}, variables(run))))),
      ];
    },
  };
}
