// Dead letters: messages that nobody took, and steps that ran out of attempts.

import { get, path, post } from "./api.js";
import { h } from "./dom.js";
import { button, cell, empty, pager } from "./parts.js";
import { runLink } from "./runs.js";
import { action, moment, state } from "./words.js";

const PAGE = 30;

export function lettersPage({ again, tell, may }) {
  let [back, at] = [[], ""];
  let list = null;
  const sent = new Set();

  function go({ back: before, at: place, forward }) {
    back = forward ? [...back, at] : before;
    at = place;
    again();
  }

  async function redrive(letter) {
    try {
      await post(`${path`v1/dead-letters/${letter.id}`}/redrive`);
      sent.add(letter.id);
      tell(letter.kind === "step" ? "The workflow goes on at that step." : "It is on its way again.");
    } catch (error) {
      tell(error.message, true);
    }
    again();
  }

  function letterRow(letter) {
    const isStep = letter.kind === "step";
    return h("li", { key: letter.id, "data-letter": letter.id }, h("div.row", {},
      cell("state-cell", null, state(isStep ? "step" : "message", "bad")),
      cell("what", null, isStep ? [action(letter.action), " ", runLink(letter.activeflow_id, "activeflow")] : h("code", {}, `${letter.method} ${letter.uri}`),
        letter.error && h("span.error", {}, letter.error)),
      cell("tries", "Attempts", `${letter.attempts} ${letter.attempts === 1 ? "attempt" : "attempts"}`),
      cell("when", null, moment(letter.tm_create)),
      cell("do", null, may("operate") && button(sent.has(letter.id) ? "Sent" : "Redrive", () => redrive(letter), { disabled: sent.has(letter.id) }))));
  }

  return {
    title: "Dead letters",
    concerns: (news) => news.type.startsWith("delivery.") || news.type === "activeflow.ended" || news.type === "activeflow.created",
    async load() {
      list = await get("v1/dead-letters", { page_size: PAGE, page_token: at });
    },
    view() {
      return [
        h("div.title", {}, h("h1", {}, "Dead letters")),
        !list ? h("p.faint", { role: "status" }, "Reading…")
          : list.result.length ? h("div.rows.letters", {}, h("ul", { "aria-label": "Dead letters" }, list.result.map(letterRow)))
            : empty("No dead letters", h("p", {}, "Messages that nobody took, and steps that ran out of attempts, would stand here, to be sent again.")),
        list && pager({ back, next: list.next_page_token, go }),
      ];
    },
  };
}
