// One call: where it stands in its workflow, what happened, what was recorded, and what came of it.

import { get, path, post } from "./api.js";
import { h } from "./dom.js";
import { graph } from "./graph.js";
import { meter, watch } from "./meter.js";
import { asked, button, confirmed, panel } from "./parts.js";
import { retry, runLink } from "./runs.js";
import { steps, variables } from "./steps.js";
import { timeline } from "./timeline.js";
import { recordings } from "./wave.js";
import { action, between, callState, moment, plain, runState, since } from "./words.js";

/** As the API bounds it. */
const SAID_MAX = 4_000;

export function callPage({ id, draw, again, tell, may }) {
  let call = null;
  let sub = null;
  let main = null;
  let told = null;
  const outlines = new Map();
  const levels = watch();
  const sounds = recordings(id, draw);
  const lines = timeline(draw);
  const subGraph = graph("Workflow of the call", draw);
  const mainGraph = graph("Main workflow", draw);
  const mainSteps = steps(draw);

  async function run(runId) {
    if (!runId) return null;
    const found = await get(path`v1/activeflows/${runId}`).catch(forgotten);
    if (found && !outlines.has(runId)) outlines.set(runId, await get(path`v1/activeflows/${runId}/outline`).catch(forgotten));
    return found;
  }

  async function hangUp() {
    const yes = await confirmed({ title: "Hang up?", text: `This ends the call from ${call.from}. Its main workflow goes on with what there is.`, yes: "Hang up" });
    if (yes) await command("hangup", undefined, (answer) => (answer.deferred ? "The network learns it at its next request." : "Hung up."));
  }

  async function say() {
    const text = await asked({ title: "Say to the caller", label: "Text", yes: "Say", most: SAID_MAX });
    if (text) await command("say", { text }, (answer) => (answer.deferred ? "It is said in the next document." : "It is being said."));
  }

  async function command(what, body, said) {
    try {
      tell(said(await post(`${path`v1/calls/${id}`}/${what}`, body)));
    } catch (error) {
      tell(error.message, true);
    }
    again();
  }

  async function exported() {
    try {
      const [whole, rows] = await Promise.all([get(path`v1/calls/${id}`), get(path`v1/calls/${id}/timeline`)]);
      save(`${id}.json`, JSON.stringify({ call: whole, timeline: rows.result, dropped: rows.dropped }, null, 2));
    } catch (error) {
      tell(error.message, true);
    }
  }

  function head() {
    const live = call.state !== "ended";
    return h("div.title.of-call", {},
      h("div.names", {},
        h("p.crumb", {}, h("a", { href: "#/calls" }, "Calls")),
        h("h1", {}, h("span", {}, call.from || "unknown"), " ", h("span.arrow", { "aria-label": "to" }, "→"), " ", h("span", {}, call.to || "unknown")),
        h("p.facts", {}, callState(call), live ? since(call.started_at) : h("span", {}, call.ended_at ? between(call.started_at, call.ended_at) : ""),
          h("span", {}, moment(call.started_at)), h("span", {}, call.direction),
          h("a", { href: `#/workflows/${encodeURIComponent(call.workflow)}` }, call.workflow), h("code.sid", {}, call.sid))),
      live && may("operate") && h("div.buttons", {},
        button("Say…", say), button("Interrupt", () => command("interrupt", undefined, () => "Interrupted.")),
        button("Hang up…", hangUp, { kind: "danger" })));
  }

  /** One line that says what is happening. */
  function present() {
    const live = call.state !== "ended";
    const step = call.current_action;
    return h("dl.now", { class: live ? "live" : "" },
      h("div.step", {}, h("dt", {}, live ? "Now" : "Ended"), h("dd", {}, live ? (step ? [action(step), " ", h("span.faint", {}, since(step.started_at))] : h("span.faint", {}, "between two steps")) : plain(call.end_reason))),
      h("div", {}, h("dt", {}, "Network"), h("dd", {}, call.status ?? "–")),
      h("div", {}, h("dt", {}, "Documents"), h("dd", {}, call.exchanges.length)),
      h("div", {}, h("dt", {}, "Digits"), h("dd.digits", {}, call.digits || "–")),
      live
        ? h("div.sound", {}, h("dt", {}, call.media.stream_up ? "Stream" : "No stream"), h("dd", {}, meter(call.sid, levels.of(call))))
        : h("div", {}, h("dt", {}, "Streams"), h("dd", {}, call.streams.length)));
  }

  function mainPanel() {
    if (!main) return null;
    const failed = main.end_reason === "failed" || main.end_reason === "limit";
    return panel("Main workflow", h("span", {}, runState(main), " ", runLink(main.id, "Open")),
      h("div.body", {},
        main.end_detail && h("p", { class: failed ? "bad" : "" }, main.end_detail),
        main.retried_as && h("p", {}, "It was retried: ", runLink(main.retried_as, "see the retry"), "."),
        failed && !main.retried_as && may("operate") && h("div.buttons", {}, button("Retry", () => retry(main.id, { tell, again }), { kind: "primary" }), h("span.small", {}, "It goes on at the step that failed, with all attempts anew.")),
        Object.keys(main.outputs ?? {}).length > 0 && h("p.small", {}, "It has outputs; its own page shows them.")),
      mainSteps(main),
      h("details.more", {}, h("summary", {}, "Drawn"), mainGraph(outlines.get(main.id), main)));
  }

  return {
    get title() {
      return call ? `${call.from} → ${call.to}` : "Call";
    },
    concerns: (news) => news.subject === id || (call?.activeflows ?? []).includes(news.subject),
    async load() {
      const [found, rows] = await Promise.all([get(path`v1/calls/${id}`), get(path`v1/calls/${id}/timeline`)]);
      const [ofCall, ofMain] = await Promise.all([run(found.activeflows[0]), run(found.activeflows[1])]);
      [call, told, sub, main] = [found, rows, ofCall, ofMain];
      levels.show(call.state === "ended" ? [] : [id]);
    },
    view() {
      if (!call) return h("p.faint", { role: "status" }, "Reading…");
      const flows = { [sub?.id]: call.sub_workflow, [main?.id]: call.workflow };
      return [
        head(),
        present(),
        h("div.columns", {},
          h("div.column", {},
            panel("Workflow", sub && h("span", {}, runState(sub), " ", runLink(sub.id, call.sub_workflow || "Open")), subGraph(outlines.get(sub?.id), sub)),
            sub && panel("Variables", null, h("div.body", {}, variables(sub)))),
          h("div.column", {},
            call.recordings.length > 0 && panel("Recordings", String(call.recordings.length), sounds.view(call.recordings)),
            mainPanel(),
            panel("Timeline", [lines.filter(), button("Export", exported, { title: "The call and its whole timeline as one JSON file" })], lines.view(told, flows)))),
      ];
    },
    leave() {
      levels.leave();
      sounds.leave();
    },
  };
}

/** What was deleted meanwhile is left out; anything else is told. */
function forgotten(error) {
  if (error.status === 404) return null;
  throw error;
}

function save(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1_000);
}
