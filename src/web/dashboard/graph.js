// A workflow drawn, with what has been done of it and where it stands.

import { h } from "./dom.js";
import { BOX, layout, path } from "./layout.js";
import { tree } from "./parts.js";
import { line, plain, span } from "./words.js";

/** More actions than this are not drawn: nobody could read it. */
const ACTIONS_MAX = 400;

/** What a run's history says of each action: its last outcome and how often it was done. */
export function progress(run) {
  const steps = new Map();
  for (const step of run?.executed_actions ?? []) {
    const seen = steps.get(step.id);
    steps.set(step.id, { outcome: step.outcome, times: (seen?.times ?? 0) + 1, last: step });
  }
  return { steps, current: run?.current_action?.id, state: run?.status };
}

/** Actions that were pushed into a run from outside its document, by the stacks that hold them. */
export function pushed(run, outline) {
  const known = new Set();
  const walk = (actions) => actions.forEach((action) => {
    known.add(action.id);
    action.lists.forEach((list) => walk(list.actions));
  });
  walk(outline.actions);
  const stacks = Object.values(run?.stack_map ?? {}).filter((stack) => stack.actions.length && !stack.actions.some((action) => known.has(action.id)));
  return stacks.map((stack) => ({
    label: stack.return_action ? `from ${stack.return_action}` : "pushed",
    actions: stack.actions.map((action) => ({ ...action, jumps: [], lists: [], falls_through: true })),
  }));
}

/** A drawing that keeps which action was chosen. `redraw` is called when that changes. */
export function graph(name, redraw) {
  let chosen = null;
  let drawing = null;
  let drawn = null;
  let followed = null;

  function prepare(outline, extra) {
    const of = JSON.stringify(extra.map((list) => list.actions.map((action) => action.id)));
    if (drawn?.outline === outline && drawn.of === of) return;
    drawing = layout(outline, extra);
    drawn = { outline, of };
  }

  const choose = (id) => {
    chosen = chosen === id ? null : id;
    redraw();
  };

  return (outline, run) => {
    if (!outline) return h("p.faint.pad", {}, "Reading…");
    prepare(outline, run ? pushed(run, outline) : []);
    if (!drawing.nodes.length) return h("p.faint.pad", {}, "It has no actions.");
    if (drawing.nodes.length > ACTIONS_MAX) return h("p.faint.pad", {}, `It has ${drawing.nodes.length} actions; more than ${ACTIONS_MAX} are not drawn.`);
    const done = progress(run);
    const picked = chosen && drawing.byId.get(chosen);
    return h("div.graph", {},
      h("div.scroll", { key: "scroll", tabindex: "-1", created: (node) => queueMicrotask(() => follow(node, done.current)), "data-current": done.current },
        draw(name, drawing, done, chosen, choose), keep(done.current)),
      picked && details(picked.action, done.steps.get(chosen)?.last, run?.current_action));
  };

  /** When the cursor has moved, it is brought into sight; otherwise whoever scrolls is left alone. */
  function keep(current) {
    if (current !== followed) queueMicrotask(() => {
      for (const node of document.querySelectorAll(`.graph .scroll[data-current="${CSS.escape(current ?? "")}"]`)) follow(node, current);
    });
    return null;
  }

  function follow(node, current) {
    followed = current;
    const at = current && drawing.byId.get(current);
    if (!at || !node.clientHeight) return;
    const [top, bottom] = [node.scrollTop, node.scrollTop + node.clientHeight];
    if (at.y > top + 20 && at.y + at.height < bottom - 20) return;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    node.scrollTo({ top: Math.max(0, at.y - node.clientHeight / 3), behavior: calm ? "auto" : "smooth" });
  }
}

function draw(name, drawing, done, chosen, choose) {
  const { width, height, nodes, groups, edges, byId } = drawing;
  const nameOf = (id) => byId.get(id)?.action.name ?? byId.get(id)?.action.type ?? id;
  return h("svg", {
    viewBox: `-4 -4 ${width + 8} ${height + 8}`, width: width + 8, height: height + 8, role: "group", "aria-label": name,
    on: { keydown: (event) => move(event, choose) },
  },
  groups.map((box, index) => h("g.group", { key: `g${index}` },
    h("path", { d: `M${box.x + 1} ${box.y + 4}V${box.y + box.height - BOX.pad}` }),
    h("text", { x: box.x + BOX.pad, y: box.y + 17 }, fit(box.label, box.width - 24, SMALL)))),
  edges.map((edge, index) => edgeOf(edge, index, chosen)),
  nodes.map((node, index) => nodeOf(node, index, { done, chosen, choose, nameOf })));
}

function edgeOf(edge, index, chosen) {
  const near = chosen && (edge.from.action.id === chosen || edge.to.action.id === chosen);
  if (edge.kind === "falls") {
    return h("path.edge", { key: `e${index}`, class: near ? "near" : "", d: `M${edge.x} ${edge.top}V${edge.bottom - 1}m-3.5 -4l3.5 4l3.5 -4` });
  }
  const into = edge.to.x + edge.to.width;
  return h("g.edge", { key: `e${index}`, class: near ? "near" : "" },
    h("path", { d: path(edge) }),
    h("path", { d: `M${into + 6} ${edge.end - 3.5}l-5 3.5l5 3.5` }));
}

function nodeOf(node, index, { done, chosen, choose, nameOf }) {
  const { action, x, y, width, height, rows } = node;
  const step = done.steps.get(action.id);
  const isCurrent = action.id === done.current;
  const outcome = isCurrent ? "current" : step?.outcome ?? (action.isTrigger && done.state ? "ok" : "ahead");
  const says = summary(action);
  const head = action.name ?? action.type;
  const spoken = [head, action.name ? action.type : "", isCurrent ? "under way" : step ? plain(step.outcome) : "", step?.times > 1 ? `${step.times} times` : ""];
  return h("g.node", {
    key: action.id, class: `${outcome}${action.id === chosen ? " chosen" : ""}`, transform: `translate(${x} ${y})`,
    role: "button", tabindex: index === 0 ? "0" : "-1", "aria-pressed": String(action.id === chosen),
    "aria-label": spoken.filter(Boolean).join(", "), "data-id": action.id, "data-outcome": outcome,
    "aria-current": isCurrent ? "step" : null,
    on: { click: () => choose(action.id) },
  },
  h("rect", { width, height, rx: 8 }),
  h("g.mark", { transform: `translate(${22} 23)` }, markOf(outcome)),
  h("text.head", { x: 40, y: says ? 20 : 28 }, fit(head, width - 110, action.name ? BOLD : MONO),
    action.name ? h("tspan.kind", { dx: 7 }, fit(action.type, width - 110 - widthOf(head, BOLD), MONO)) : null),
  says ? h("text.says", { x: 40, y: 37 }, fit(says, width - 52, SMALL)) : null,
  step?.times > 1 ? h("text.times", { x: width - 12, y: 20 }, `${step.times}×`) : null,
  rows.map((row, at) => h("text.way", { key: `w${at}`, x: 40, y: BOX.head + at * BOX.row + 14 },
    fit(row.label, 120, SMALL), h("tspan.to", { x: width - 12 }, fit(`→ ${nameOf(row.to)}`, width - 52 - Math.min(120, widthOf(row.label, SMALL)), SMALL)))));
}

function markOf(outcome) {
  if (outcome === "current") return [h("circle.ring", { r: 8 }), h("circle.core", { r: 4 })];
  if (outcome === "ok") return h("path", { d: "M-5 0l3.4 3.6l6.4 -7.4" });
  if (outcome === "failed") return h("path", { d: "M-4 -4l8 8m0 -8l-8 8" });
  if (outcome === "interrupted") return h("path", { d: "M-5 0h4m4 -5v10" });
  if (outcome === "skipped") return h("path", { d: "M-5 0h10" });
  return h("circle.hollow", { r: 4 });
}

/** Arrows go from action to action; Enter and space open one. */
function move(event, choose) {
  const at = event.target.closest?.(".node");
  if (!at) return;
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    choose(at.dataset.id);
    return;
  }
  const all = [...event.currentTarget.querySelectorAll(".node")];
  const to = { ArrowDown: all.indexOf(at) + 1, ArrowUp: all.indexOf(at) - 1, Home: 0, End: all.length - 1 }[event.key];
  if (to === undefined || !all[to]) return;
  event.preventDefault();
  all[to].focus();
}

/** The one thing of an action's parameters that says the most. */
function summary(action) {
  const given = action.parameters ?? {};
  const found = ["text", "url", "file", "message", "subject", "workflow", "flow_id", "expression", "variable", "key", "model", "queue", "conference", "object"]
    .map((name) => given[name]).find((value) => typeof value === "string" && value);
  if (found) return found.replace(/<[^>]*>/g, " ").replace(/\s+/g, " ").trim();
  if (Array.isArray(given.destinations)) return line(given.destinations.map((to) => to.target ?? to).join(", "), 80);
  if (given.duration !== undefined) return `for ${typeof given.duration === "number" ? span(given.duration) : given.duration}`;
  return "";
}

function details(action, last, current) {
  const step = current?.id === action.id ? current : last;
  const facts = [
    ["Type", h("code", {}, action.type)],
    action.label && ["Label", action.label],
    action.when !== null && action.when !== undefined && ["Only when", h("code", {}, line(action.when))],
    Object.keys(action.parameters ?? {}).length > 0 && ["Parameters", tree(step?.parameters ?? action.parameters)],
    step && ["Outcome", step.outcome ? plain(step.outcome) : "under way"],
    step?.attempts > 1 && ["Attempts", String(step.attempts)],
    step?.output !== undefined && ["Output", tree(step.output)],
    step?.error && ["Error", h("span.bad", {}, `${step.error.class}: ${step.error.message}`)],
    step?.missing?.length > 0 && ["Missing variables", step.missing.join(", ")],
  ];
  return h("dl.details", { "aria-label": `Action ${action.name ?? action.type}` },
    facts.filter(Boolean).map(([name, value]) => h("div", { key: name }, h("dt", {}, name), h("dd", {}, value))));
}

const BOLD = "600 13px system-ui, sans-serif";
const SMALL = "12px system-ui, sans-serif";
const MONO = "12px ui-monospace, monospace";
let pen = null;

function widthOf(text, font) {
  pen ??= document.createElement("canvas").getContext("2d");
  pen.font = font;
  return pen.measureText(text).width;
}

/** A text cut so that it fits; drawings don't do that by themselves. */
function fit(text, width, font) {
  const whole = String(text ?? "");
  if (widthOf(whole, font) <= width) return whole;
  let [low, high] = [0, whole.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (widthOf(`${whole.slice(0, middle)}…`, font) <= width) low = middle;
    else high = middle - 1;
  }
  return low > 1 ? `${whole.slice(0, low)}…` : "";
}
