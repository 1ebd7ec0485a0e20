// What the keys do, beside what they do in every page.

import { h } from "./dom.js";
import { button, dialog } from "./parts.js";

const KEYS = [
  ["?", "This help"],
  ["g c", "Calls"],
  ["g a", "Activeflows"],
  ["g w", "Workflows"],
  ["g d", "Dead letters"],
  ["↑ ↓", "From row to row in a list"],
  ["Home End", "First and last row"],
  ["Enter", "Open the row"],
  ["/", "To the first filter"],
  ["u", "Up, back to the list"],
  ["Esc", "Close a dialog"],
];

const PLACES = { c: "calls", a: "activeflows", w: "workflows", d: "dead-letters" };
/** The second key of two comes within this. */
const PAIR_MS = 1_500;

export function keys({ navigate }) {
  let pair = 0;
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest?.("input, textarea, select, dialog")) return;
    const second = performance.now() - pair < PAIR_MS;
    pair = 0;
    if (second && PLACES[event.key]) navigate(`#/${PLACES[event.key]}`);
    else if (event.key === "g") pair = performance.now();
    else if (event.key === "?") help();
    else if (event.key === "u") navigate(`#/${location.hash.replace(/^#\/?/, "").split(/[/?]/)[0]}`);
    else if (event.key === "/") document.querySelector("main input, main select")?.focus();
    else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && !event.target.closest?.("a.row, [data-arrows]")) {
      const all = document.querySelectorAll("main a.row");
      const row = event.key === "ArrowDown" ? all[0] : all[all.length - 1];
      if (!row) return;
      row.focus();
    } else return;
    event.preventDefault();
  });
}

export function help() {
  if (document.querySelector("dialog[open]")) return;
  dialog({ title: "Keys", content: (done) => [
    h("dl.keys", {}, KEYS.map(([key, what]) =>
      h("div", { key }, h("dt", {}, key.split(" ").map((one) => h("kbd", {}, one))), h("dd", {}, what)))),
    h("div.buttons", {}, button("Close", () => done(), { autofocus: true })),
  ] });
}
