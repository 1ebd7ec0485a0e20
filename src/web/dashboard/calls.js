// The calls: those that live, and below them those that have ended.

import { get } from "./api.js";
import { h } from "./dom.js";
import { meter, watch } from "./meter.js";
import { cell, choice, command, empty, pager, row, rows, search } from "./parts.js";
import { action, between, callState, moment, since } from "./words.js";

/** Live calls that are shown at once; the API gives no more on one page. */
const LIVE_MAX = 100;
const ENDED_PAGE = 20;

export function callsPage({ query, draw, again, navigate }) {
  let filter = read(query);
  let back = [];
  let at = "";
  let live = null;
  let ended = null;
  let workflows = [];
  const levels = watch();

  function read(query) {
    return { workflow: query.get("workflow") ?? "", from: query.get("from") ?? "" };
  }

  /** A filter stands in the address, so that what is seen can be sent to somebody. */
  function change(part) {
    const next = Object.entries({ ...filter, ...part }).filter(([, value]) => value);
    const text = new URLSearchParams(next).toString();
    navigate(text ? `#/calls?${text}` : "#/calls");
  }

  function go({ back: before, at: place, forward }) {
    back = forward ? [...back, at] : before;
    at = place;
    again();
  }

  function view() {
    if (!live) return skeleton();
    const filtered = Boolean(filter.workflow || filter.from);
    return [
      h("div.title", {}, h("h1", {}, "Calls"), filters()),
      h("section", { "aria-labelledby": "live" },
        h("h2", { id: "live" }, "Live", h("span.count", {}, live.next_page_token ? `${LIVE_MAX}+` : live.result.length)),
        live.result.length ? liveRows(live.result) : filtered ? empty("No live call fits the filter") : nobody(),
        live.next_page_token && h("p.small", {}, `The newest ${LIVE_MAX} are shown. Filter for a workflow or a number to see others.`)),
      h("section", { "aria-labelledby": "ended" },
        h("h2", { id: "ended" }, "Ended"),
        ended.result.length ? endedRows(ended.result) : h("p.faint", {}, filtered ? "None fits the filter." : "None yet."),
        pager({ back, next: ended.next_page_token, go })),
    ];
  }

  function filters() {
    const known = [["", "All workflows"], ...workflows.map((id) => [id, id])];
    if (filter.workflow && !workflows.includes(filter.workflow)) known.push([filter.workflow, filter.workflow]);
    return h("div.filters", { role: "search" },
      choice("Workflow", filter.workflow, known, (workflow) => change({ workflow })),
      search("From", filter.from, (from) => change({ from }), "+1415…"));
  }

  function liveRows(calls) {
    return rows("Live calls", "calls live", ["State", "Caller", "Workflow", "Step", "Level", "Time"],
      calls.map((call) => row(call.sid, `#/calls/${encodeURIComponent(call.sid)}`,
        cell("state-cell", null, callState(call)),
        who(call),
        cell("workflow", "Workflow", call.workflow),
        cell("step", "Step", action(call.current_action)),
        cell("level", null, meter(call.sid, levels.of(call))),
        cell("time", null, since(call.started_at)))));
  }

  function endedRows(calls) {
    return rows("Ended calls", "calls ended", ["End", "Caller", "Workflow", "When", "Length"],
      calls.map((call) => row(call.sid, `#/calls/${encodeURIComponent(call.sid)}`,
        cell("state-cell", null, callState(call)),
        who(call),
        cell("workflow", "Workflow", call.workflow),
        cell("when", null, moment(call.started_at)),
        cell("time", null, call.ended_at ? between(call.started_at, call.ended_at) : ""))));
  }

  return {
    title: "Calls",
    concerns: (news) => /^call\.|^activeflow\./.test(news.type),
    asked(query) {
      filter = read(query);
      [back, at] = [[], ""];
    },
    async load() {
      const asked = { ...filter };
      const [lives, ends, flows] = await Promise.all([
        get("v1/calls", { state: "live", page_size: LIVE_MAX, ...asked }),
        get("v1/calls", { state: "ended", page_size: ENDED_PAGE, page_token: at, ...asked }),
        workflows.length ? null : get("v1/flows", { page_size: 100 }).catch(() => null),
      ]);
      [live, ended] = [lives, ends];
      if (flows) workflows = flows.result.map((flow) => flow.id).sort();
      levels.show(live.result.map((call) => call.sid));
    },
    view,
    leave: levels.leave,
  };
}

/** Caller and called number. */
export function who(call) {
  return cell("who", null, h("span.number", {}, call.from || "unknown"), h("span.arrow", { "aria-label": "to" }, "→"), h("span.number.faint", {}, call.to || "unknown"));
}

function nobody() {
  return empty("No live calls",
    h("p", {}, "Place the first one from a terminal on this machine. A pretend phone network calls, and you see it here:"),
    h("p", {}, command("holdline call hello")),
    h("p.small", {}, "Or let ", command("holdline demo"), " show a whole call by itself, on a server of its own; with ", command("--stay"), " it keeps serving. For a real phone, point your number’s voice webhook at ", command("/webhooks/hello"), " of the public listener."));
}

/** As much room as the page will take, so that nothing jumps. */
function skeleton() {
  return [h("div.title", {}, h("h1", {}, "Calls")), h("p.faint", { role: "status" }, "Reading…")];
}
