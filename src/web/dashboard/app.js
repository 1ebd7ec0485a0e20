// The page around the pages: who may look, where one is, and what is new.

import { get, hasToken, keepToken, Refused, Unreachable } from "./api.js";
import { h, render } from "./dom.js";
import { help, keys } from "./keys.js";
import { follow } from "./live.js";
import { button } from "./parts.js";
import { tick } from "./words.js";
import { callPage } from "./call.js";
import { callsPage } from "./calls.js";
import { flowPage, flowsPage } from "./flows.js";
import { lettersPage } from "./letters.js";
import { runPage } from "./run.js";
import { runsPage } from "./runs.js";

/** A page is read again this long after it was, at the soonest; news in between are taken together. */
const CALM_MS = 200;
/** What no event tells is seen at the latest after this. */
const STALE_MS = 15_000;
/** Where the server does not answer, it is asked again after this. */
const RETRY_MS = 2_000;

/** Long enough to be read, short enough not to stand in the way. */
const NOTICE_MS = 6_000;

const ROLES = ["read", "operate", "admin"];

const PAGES = [
  { path: /^calls$/, page: callsPage, at: "calls" },
  { path: /^calls\/([^/]+)$/, page: callPage, at: "calls" },
  { path: /^activeflows$/, page: runsPage, at: "activeflows" },
  { path: /^activeflows\/([^/]+)$/, page: runPage, at: "activeflows" },
  { path: /^workflows$/, page: flowsPage, at: "workflows" },
  { path: /^workflows\/([^/]+)$/, page: flowPage, at: "workflows" },
  { path: /^dead-letters$/, page: lettersPage, at: "dead-letters" },
];

const NAVIGATION = [
  ["calls", "Calls"],
  ["activeflows", "Activeflows"],
  ["workflows", "Workflows"],
  ["dead-letters", "Dead letters"],
];

const root = document.getElementById("app");
const seen = { about: null, drain: null, connection: "connecting", trouble: null, refusal: null, notice: null };
let shown = null;
let stopNews = null;

start();

async function start() {
  try {
    seen.about = await get("v1/about");
    seen.refusal = null;
  } catch (error) {
    if (error instanceof Refused && (error.status === 401 || error.status === 403)) return signIn(error);
    seen.trouble = error.message;
    draw();
    setTimeout(start, RETRY_MS);
    return;
  }
  seen.trouble = null;
  stopNews?.();
  stopNews = follow({
    onNews: (news) => {
      shown?.hear(news);
      if (news.type === "all") lookAround();
    },
    onState: (state) => {
      seen.connection = state;
      draw();
    },
    onRefused: () => signIn(new Refused(401, { detail: "the token is not good any more" })),
  });
  go();
}

function signIn(error) {
  stopNews?.();
  stopNews = null;
  shown?.leave();
  shown = null;
  seen.about = null;
  seen.refusal = hasToken() ? error.message : "";
  draw();
}

/** Opens what the address names. */
function go() {
  if (!seen.about) return;
  const [path, query] = (location.hash.replace(/^#\/?/, "") || "calls").split("?");
  const found = PAGES.map((entry) => ({ ...entry, match: entry.path.exec(path) })).find((entry) => entry.match);
  const first = shown === null;
  if (shown?.address === `${found?.at} ${path}`) {
    shown.query(new URLSearchParams(query));
    return;
  }
  shown?.leave();
  shown = found
    ? new Shown(`${found.at} ${path}`, found, decodeURIComponent(found.match[1] ?? ""), new URLSearchParams(query))
    : new Shown(`none ${path}`, { page: nowhere, at: "" }, path, new URLSearchParams());
  draw();
  // After a link was followed, whoever reads with keys or ears begins at the new page's start.
  if (!first) {
    document.getElementById("main")?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

/** A page that is open: it reads what it shows, again when there are news, and draws. */
class Shown {
  constructor(address, entry, id, query) {
    this.address = address;
    this.at = entry.at;
    this.page = entry.page({ id, query, draw, again: () => this.hurry(), navigate, tell, may });
    this.isOpen = true;
    this.calmUntil = 0;
    this.read();
  }

  query(query) {
    this.page.asked?.(query);
    this.hurry();
  }

  hear(news) {
    if (news.type === "all" || this.page.concerns(news)) this.soon();
  }

  /** The person has done something and wants to see it. */
  hurry() {
    this.calmUntil = 0;
    this.soon();
  }

  /** One read at a time. What is told meanwhile, or too soon after it, is one more behind it. */
  soon() {
    if (document.hidden) this.missed = true;
    else if (this.reads) this.more = true;
    else this.schedule(Math.max(0, this.calmUntil - performance.now()));
  }

  schedule(ms) {
    const due = performance.now() + ms;
    if (this.timer && this.due <= due) return;
    clearTimeout(this.timer);
    this.due = due;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.read();
    }, ms);
  }

  async read() {
    if (!this.isOpen) return;
    if (document.hidden && this.calmUntil) {
      this.missed = true;
      return;
    }
    this.reads = true;
    const began = performance.now();
    try {
      await this.page.load();
      this.failure = null;
      if (seen.trouble) lookAround();
      seen.trouble = null;
    } catch (error) {
      if (error instanceof Refused && error.status === 401) return signIn(error);
      if (error instanceof Unreachable) seen.trouble = error.message;
      else this.failure = error;
    }
    this.reads = false;
    if (!this.isOpen) return;
    draw();
    // A page that is long to read is read less often.
    this.calmUntil = performance.now() + Math.max(CALM_MS, (performance.now() - began) * 3);
    const { more } = this;
    this.more = false;
    if (more) this.soon();
    else this.schedule(seen.trouble ? RETRY_MS : STALE_MS);
  }

  leave() {
    this.isOpen = false;
    clearTimeout(this.timer);
    this.page.leave?.();
  }
}

function nowhere({ id }) {
  return {
    load: async () => {},
    concerns: () => false,
    title: "Nothing here",
    view: () => h("div.empty", {}, h("p.title", {}, "There is no such page"), h("p", {}, `“${id}” leads nowhere. `, h("a", { href: "#/calls" }, "To the calls"))),
  };
}

/** Says for a while what came of something. */
function tell(text, bad) {
  clearTimeout(seen.notice?.timer);
  seen.notice = { text, bad, timer: setTimeout(() => { seen.notice = null; draw(); }, NOTICE_MS) };
  draw();
}

/** Whether the token's role is enough. */
function may(role) {
  return ROLES.indexOf(seen.about?.role) >= ROLES.indexOf(role);
}

function navigate(hash) {
  location.hash = hash;
}

/** What stands at the edge of every page. */
async function lookAround() {
  try {
    seen.drain = await get("v1/drain");
    draw();
  } catch {
    // The page's own reading says what is wrong.
  }
}

function draw() {
  if (!seen.about) {
    render(root, seen.refusal === null ? h("p.quiet", {}, seen.trouble ?? "") : signInForm());
    return;
  }
  document.title = shown?.page.title ? `${shown.page.title} · Holdline` : "Holdline";
  render(root, h("div.shell", {}, side(), banner(), h("main", { id: "main", tabindex: "-1", key: shown?.address }, body()), notice()));
}

function body() {
  if (!shown) return null;
  const { failure, page } = shown;
  if (failure && failure.status !== 404) {
    return [h("p.refusal", { role: "alert", key: "failure" }, failure.message), page.view?.()];
  }
  if (failure) {
    return h("div.empty", {}, h("p.title", {}, failure.message), h("p", {}, h("a", { href: `#/${shown.at}` }, "Back to the list")));
  }
  return page.view();
}

function side() {
  return h("header.side", {},
    h("a.brand", { href: "#/calls", "aria-label": "Holdline, calls" }, mark(), h("span", {}, "Holdline")),
    h("nav", { "aria-label": "Pages" },
      NAVIGATION.map(([path, text]) =>
        h("a", { href: `#/${path}`, key: path, "aria-current": shown?.at === path ? "page" : null }, text))),
    h("div.foot", {}, connection(), drain(), h("div.small", {}, `Version ${seen.about.version} · ${seen.about.role}`),
      h("div.links", {}, button("Keys", help, { kind: "link", title: "What the keys do (?)" }),
        h("a", { href: "docs" }, "API"),
        hasToken() && button("Sign out", leave, { kind: "link" }))));
}

function mark() {
  return h("svg", { viewBox: "0 0 32 32", width: 26, height: 26, "aria-hidden": "true" },
    h("rect", { width: 32, height: 32, rx: 8 }),
    h("path", { d: "M8 16h4l2-6 4 12 2-6h4" }));
}

function connection() {
  const [word, tone] = {
    connecting: ["Connecting", "over"],
    live: ["Live", "live"],
    polling: ["Live, by asking", "live"],
    reconnecting: ["Reconnecting", "bad"],
  }[seen.connection];
  return h("div.connection", { role: "status", "data-connection": seen.connection },
    h("span.state", { class: tone }, h("span.dot", { "aria-hidden": "true" }), word));
}

function drain() {
  const { drain } = seen;
  if (!drain?.draining) return null;
  return h("div.draining", {}, `Draining: ${drain.calls} ${drain.calls === 1 ? "call" : "calls"} left`);
}

function notice() {
  const { notice } = seen;
  return h("div.notice", { role: "status", class: `${notice ? "shown" : ""} ${notice?.bad ? "bad" : ""}` }, notice?.text);
}

/** Above the page when what it shows may be old. */
function banner() {
  const text = seen.trouble
    ? "The server does not answer. What is shown may be old."
    : seen.connection === "reconnecting" ? "The stream of news is lost; reconnecting. What is shown may be old." : null;
  return h("div.banner", { role: "status", class: text ? "shown" : "" }, text);
}

function signInForm() {
  const submit = (event) => {
    event.preventDefault();
    keepToken(event.target.elements.token.value.trim());
    start();
  };
  return h("main.sign-in", { id: "main", tabindex: "-1" },
    h("form", { on: { submit } },
      h("div.brand", {}, mark(), h("h1", {}, "Holdline")),
      h("label.field.wide", {}, h("span", {}, "Token"),
        h("input", { name: "token", type: "password", required: true, autofocus: true, autocomplete: "off", "aria-describedby": "sign-in-note" })),
      h("p.refusal", { role: "alert" }, seen.refusal),
      h("p.small", { id: "sign-in-note" }, "One of ", h("code", {}, "[control] tokens"), " of the server’s configuration. This tab keeps it until it is closed."),
      h("button.primary", { type: "submit" }, "Sign in")));
}

function leave() {
  keepToken("");
  signIn(new Refused(401, {}));
}

addEventListener("hashchange", go);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && shown?.missed) {
    shown.missed = false;
    shown.hurry();
  }
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main")?.focus();
});
setInterval(() => {
  if (!document.hidden) tick(root);
}, 1_000);
keys({ navigate });
