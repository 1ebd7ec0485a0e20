// One call.

import { get, path } from "./api.js";
import { h } from "./dom.js";
import { callState } from "./words.js";

export function callPage({ id }) {
  let call = null;
  return {
    get title() {
      return call ? `${call.from} → ${call.to}` : "Call";
    },
    concerns: (news) => news.subject === id || (call?.activeflows ?? []).includes(news.subject),
    async load() {
      call = await get(path`v1/calls/${id}`);
    },
    view() {
      if (!call) return h("p.faint", { role: "status" }, "Reading…");
      return h("div.title", {}, h("h1", {}, `${call.from} → ${call.to}`), callState(call));
    },
  };
}
