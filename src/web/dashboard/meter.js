// How loud a live call is right now: what the caller says, and what the caller hears.

import { get } from "./api.js";
import { h } from "./dom.js";

/** Four looks a second are a meter that lives; only while it can be seen. */
const LOOK_MS = 250;
/** Calls whose levels are asked for at once. */
const CALLS_MAX = 50;
/** Quieter than this is an empty meter; µ-law can't be much louder than 0. */
const QUIETEST_DBFS = -50;

/** Two bars, the caller's above ours. */
export function meter(sid, levels) {
  return h("span.meter", { "data-meter": sid, role: "img", "aria-label": "Sound level" },
    h("span.bar.heard", { title: "Caller" }, h("i", { style: { "--level": share(levels?.heard_dbfs) } })),
    h("span.bar.spoken", { title: "Holdline" }, h("i", { style: { "--level": share(levels?.spoken_dbfs) } })));
}

function share(dbfs) {
  if (dbfs === null || dbfs === undefined) return "0";
  return (Math.min(1, Math.max(0, 1 - dbfs / QUIETEST_DBFS))).toFixed(2);
}

/** Looks at the levels of the calls that are shown, and moves their meters without drawing the page again. */
export function watch() {
  const latest = new Map();
  let calls = [];
  let timer;
  let looks = false;
  let left = false;

  async function look() {
    looks = !left && calls.length > 0;
    if (!looks) return;
    if (!document.hidden) {
      try {
        const { result } = await get("v1/levels", { calls: calls.join(",") });
        latest.clear();
        for (const levels of result) latest.set(levels.sid, levels);
        for (const sid of calls) move(sid, latest.get(sid));
      } catch {
        // The page's own reading says what is wrong; a meter is only a meter.
      }
    }
    timer = setTimeout(look, LOOK_MS);
  }

  return {
    /** Which calls can be seen. */
    show(sids) {
      calls = sids.slice(0, CALLS_MAX);
      if (!looks) look();
    },
    of: (call) => latest.get(call.sid),
    leave() {
      left = true;
      clearTimeout(timer);
    },
  };
}

function move(sid, levels) {
  for (const node of document.querySelectorAll(`[data-meter="${CSS.escape(sid)}"]`)) {
    node.querySelector(".heard i")?.style.setProperty("--level", share(levels?.heard_dbfs));
    node.querySelector(".spoken i")?.style.setProperty("--level", share(levels?.spoken_dbfs));
  }
}
