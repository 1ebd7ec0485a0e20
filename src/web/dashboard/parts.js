// What several pages are made of.

import { h, render } from "./dom.js";

export function panel(title, aside, ...children) {
  return h("section.panel", {}, h("header", {}, h("h2", {}, title), aside && h("div.aside", {}, aside)), ...children);
}

/** What is not there yet, and what to do about it. */
export function empty(title, ...children) {
  return h("div.empty", {}, h("p.title", {}, title), ...children);
}

export function command(text) {
  return h("code.command", {}, text);
}

/** A list of links. Up and down move between its rows, Home and End to its ends; Enter follows, as links do. */
export function rows(label, kind, head, items) {
  const on = {
    keydown: (event) => {
      const all = [...event.currentTarget.querySelectorAll("a.row")];
      const at = all.indexOf(event.target);
      const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
      if (at < 0 || to === undefined || !all[to]) return;
      event.preventDefault();
      all[to].focus();
    },
  };
  return h("div.rows", { class: kind },
    h("div.row.head", { "aria-hidden": "true" }, head.map((word) => h("span", {}, word))),
    h("ul", { "aria-label": label, on }, items));
}

export function row(key, href, ...cells) {
  return h("li", { key }, h("a.row", { href }, cells));
}

/** One of a row's columns; `label` is read aloud, and shown where the columns stand below each other. */
export function cell(name, label, ...children) {
  return h("span.cell", { class: name }, label && h("span.label", {}, label), children);
}

export function button(text, click, props) {
  const { kind, ...more } = props ?? {};
  return h("button", { type: "button", class: kind, on: { click }, ...more }, text);
}

/** Newer and older pages of a list that only knows the way on: the way back is kept by whoever shows it. */
export function pager({ back, next, go }) {
  if (!back.length && !next) return null;
  return h("nav.pager", { "aria-label": "Pages" },
    button("Newer", () => go({ back: back.slice(0, -1), at: back.at(-1) ?? "" }), { disabled: !back.length }),
    h("span.faint", {}, `Page ${back.length + 1}`),
    button("Older", () => go({ back, at: next, forward: true }), { disabled: !next }));
}

/** A choice between a few words. */
export function choice(label, value, options, change) {
  return h("label.field", {}, h("span", {}, label),
    h("select", { value, on: { change: (event) => change(event.target.value) } },
      options.map(([word, shown]) => h("option", { value: word, selected: word === value, key: word }, shown))));
}

/** A text that filters by being exactly so; it counts when it is left or sent. */
export function search(label, value, change, placeholder) {
  const take = (event) => change(event.target.value.trim());
  return h("label.field", {}, h("span", {}, label),
    h("input", { type: "search", value, placeholder, spellcheck: "false", autocomplete: "off", on: { change: take } }));
}

/** Something of any shape, laid open as far as it is nested. */
export function tree(value, depth = 0) {
  if (value === null || typeof value !== "object") {
    const kind = value === null ? "null" : typeof value;
    return h("span.value", { class: kind }, value === null ? "null" : String(value));
  }
  const entries = Object.entries(value);
  if (!entries.length) return h("span.value.faint", {}, Array.isArray(value) ? "[ ]" : "{ }");
  const shown = entries.slice(0, ENTRIES_MAX);
  return h("dl.tree", { class: depth ? "nested" : "" },
    shown.map(([name, inner]) => h("div", { key: name }, h("dt", {}, name), h("dd", {}, depth < DEPTH_MAX ? tree(inner, depth + 1) : JSON.stringify(inner)))),
    entries.length > shown.length && h("div", {}, h("dt.faint", {}, `and ${entries.length - shown.length} more`)));
}

/** A thing that can't be taken back is asked about once more. */
export async function confirmed({ title, text, yes }) {
  return new Promise((resolve) => {
    dialog({ title, close: () => resolve(false), content: (done) => [
      h("p", {}, text),
      h("div.buttons", {},
        button("Cancel", () => done()),
        button(yes, () => { resolve(true); done(); }, { kind: "danger", autofocus: true })),
    ] });
  });
}

/** A text from the person, or nothing. */
export async function asked({ title, label, yes, most }) {
  return new Promise((resolve) => {
    dialog({ title, close: () => resolve(null), content: (done) => [
      h("form", { on: { submit: (event) => { event.preventDefault(); resolve(event.target.elements.text.value); done(); } } },
        h("label.field.wide", {}, h("span", {}, label),
          h("textarea", { name: "text", rows: "3", required: true, maxlength: most, autofocus: true })),
        h("div.buttons", {}, button("Cancel", () => done()), h("button.primary", { type: "submit" }, yes))),
    ] });
  });
}

/** Above the page until it is done with; the browser keeps the focus inside, and Escape closes it. */
export function dialog({ title, content, close }) {
  const node = document.createElement("dialog");
  node.setAttribute("aria-label", title);
  const done = () => node.close();
  render(node, h("h2", {}, title), content(done));
  node.addEventListener("close", () => {
    node.remove();
    close?.();
  });
  document.body.append(node);
  node.showModal();
  return done;
}

/** Names of an object, and levels of it, that are shown before they are only counted. */
const ENTRIES_MAX = 100;
const DEPTH_MAX = 6;
