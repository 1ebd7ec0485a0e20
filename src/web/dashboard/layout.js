// Where a workflow's actions stand when it is drawn. Actions stand below each other in their order; lists of an action
// stand inside it; jumps run in lanes at the right, the shorter ones closer in.

/** Measures, in pixels of the drawing. */
export const BOX = { width: 300, head: 46, row: 22, gap: 18, indent: 18, label: 26, pad: 12, lane: 12 };

/**
 * `{ nodes, groups, edges, width, height }` of an outline's triggers and actions. A node is `{ action, x, y, width,
 * height, rows }`; an edge `{ from, to, label, kind, path }`.
 */
export function layout({ triggers, actions }, extra = []) {
  const drawing = { nodes: [], groups: [], edges: [], byId: new Map() };
  const starts = (triggers ?? []).map((trigger) => ({
    id: trigger.name, name: trigger.name, type: trigger.type, isTrigger: true, falls_through: true, jumps: [], lists: [], parameters: {},
  }));
  let y = place(drawing, [...starts, ...actions], 0, 0, BOX.width);
  for (const { label, actions: more } of extra) y = group(drawing, label, more, 0, y + BOX.gap, BOX.width);
  const lanes = connect(drawing);
  drawing.width = BOX.width + (lanes ? lanes * BOX.lane + 20 : 2);
  drawing.height = Math.max(y, BOX.head);
  return drawing;
}

/** Puts a list below `y`; gives where it ends. */
function place(drawing, actions, x, y, width) {
  let before = null;
  for (const action of actions) {
    if (before) y += BOX.gap;
    const rows = ways(action);
    const node = { action, x, y, width, height: BOX.head + rows.length * BOX.row + (rows.length ? 6 : 0), rows };
    drawing.nodes.push(node);
    drawing.byId.set(action.id, node);
    if (before?.action.falls_through) drawing.edges.push({ kind: "falls", from: before, to: node, x: x + 22, top: before.end, bottom: y });
    y += node.height;
    for (const { label, actions: nested } of action.lists) {
      if (nested.length) y = group(drawing, label, nested, x + BOX.indent, y + 8, width - BOX.indent);
    }
    node.end = y;
    before = node;
  }
  return y;
}

function group(drawing, label, actions, x, y, width) {
  const box = { label, x, y, width, height: 0 };
  drawing.groups.push(box);
  const end = place(drawing, actions, x + BOX.pad, y + BOX.label, width - BOX.pad) + BOX.pad;
  box.height = end - y;
  return end;
}

/** What a node says of where it leads, row by row. */
function ways(action) {
  const rows = action.jumps.map(({ label, to }) => ({ label, to }));
  if (action.next) rows.push({ label: "then", to: action.next });
  return rows;
}

/** Gives every jump a lane of its own along its way; says how many there are. */
function connect(drawing) {
  const jumps = [];
  for (const node of drawing.nodes) {
    node.rows.forEach((row, index) => {
      const to = drawing.byId.get(row.to);
      if (!to) return;
      const start = node.y + BOX.head + index * BOX.row + BOX.row / 2;
      // Into the side of the target's head; jumps from below come in lower, so that the two don't meet.
      const end = to.y + (to.y > node.y ? 14 : 30);
      jumps.push({ kind: "jump", from: node, to, label: row.label, row: index, start, end });
    });
  }
  jumps.sort((a, b) => Math.abs(a.end - a.start) - Math.abs(b.end - b.start));
  const lanes = [];
  for (const jump of jumps) {
    const [top, bottom] = [Math.min(jump.start, jump.end), Math.max(jump.start, jump.end)];
    let lane = lanes.findIndex((taken) => taken.every(([from, to]) => bottom + 4 < from || top - 4 > to));
    if (lane < 0) lane = lanes.push([]) - 1;
    lanes[lane].push([top, bottom]);
    jump.lane = lane;
    jump.x = BOX.width + 14 + lane * BOX.lane;
    drawing.edges.push(jump);
  }
  return lanes.length;
}

/** The line of a jump: out at the right, along its lane, back into the target. */
export function path({ from, to, start, end, x }) {
  const [out, into] = [from.x + from.width, to.x + to.width];
  if (Math.abs(end - start) < 8) return `M${out} ${start}H${into + 1}`;
  const turn = Math.min(6, Math.abs(end - start) / 2);
  const way = end > start ? 1 : -1;
  return `M${out} ${start}H${x - turn}q${turn} 0 ${turn} ${way * turn}V${end - way * turn}q0 ${way * turn} ${-turn} ${way * turn}H${into + 2}`;
}
