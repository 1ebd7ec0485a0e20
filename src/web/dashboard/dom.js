// What a page looks like is said whole each time; only what differs is changed in the document. Whatever comes from
// outside becomes a text node or an attribute, never markup.

const SVG = "http://www.w3.org/2000/svg";

/** A node to be: `h("p.note", {…}, "text", h("b", {}, "more"))`. `key` tells siblings apart when they move. */
export function h(selector, props, ...children) {
  const [tag, ...classes] = selector.split(".");
  return { tag, classes, props: props ?? {}, children: flat(children), key: props?.key };
}

/** Makes the children of `parent` what `children` say. */
export function render(parent, ...children) {
  reconcile(parent, flat(children), parent.namespaceURI === SVG);
}

function flat(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false && child !== "");
}

function reconcile(parent, wanted, svg) {
  const keyed = new Map();
  const free = [];
  for (const node of parent.childNodes) {
    const key = node.said?.key;
    if (key === undefined) free.push(node);
    else keyed.set(key, node);
  }
  let place = parent.firstChild;
  for (const said of wanted) {
    let node = take(said, keyed, free);
    if (node) update(node, said, svg);
    else node = create(said, svg);
    // A node that is moved loses its focus and its scroll: those that stay in order are left where they are.
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
    if (!node.said && typeof said === "object") node.said = said;
  }
  for (const node of [...free, ...keyed.values()]) {
    forget(node);
    node.remove();
  }
}

/** A node of before that can become this one. */
function take(said, keyed, free) {
  if (said.key !== undefined) {
    const node = keyed.get(said.key);
    if (!node || node.said.tag !== said.tag) return undefined;
    keyed.delete(said.key);
    return node;
  }
  const at = free.findIndex((node) => (typeof said === "object" ? node.said?.tag === said.tag : node.nodeType === 3));
  // Only the first one: taking a later one would turn the order around.
  return at === 0 || (at > 0 && typeof said === "object") ? free.splice(at, 1)[0] : undefined;
}

function create(said, svg) {
  if (typeof said !== "object") return document.createTextNode(String(said));
  svg ||= said.tag === "svg";
  const node = svg ? document.createElementNS(SVG, said.tag) : document.createElement(said.tag);
  node.said = { tag: said.tag, props: {}, key: said.key };
  update(node, said, svg);
  said.props.created?.(node);
  return node;
}

function update(node, said, svg) {
  if (typeof said !== "object") {
    if (node.data !== String(said)) node.data = String(said);
    return;
  }
  svg ||= said.tag === "svg";
  const before = node.said.props;
  node.said = said;
  const classes = [...said.classes, ...(said.props.class ? [said.props.class] : [])].join(" ");
  if ((node.getAttribute("class") ?? "") !== classes) node.setAttribute("class", classes);
  for (const name of Object.keys(before)) {
    if (!(name in said.props)) set(node, name, undefined, before[name]);
  }
  for (const [name, value] of Object.entries(said.props)) set(node, name, value, before[name]);
  if (!said.props.owned) reconcile(node, said.children, svg && said.tag !== "foreignObject");
}

function set(node, name, value, before) {
  if (name === "key" || name === "class" || name === "created" || name === "removed" || name === "owned") return;
  if (name === "on") return listen(node, value ?? {});
  if (name === "style") return dress(node, value ?? {}, before ?? {});
  if (value === before) return;
  if (name === "value" || name === "checked") {
    node[name] = value ?? "";
  } else if (value === undefined || value === null || value === false) {
    node.removeAttribute(name);
  } else {
    node.setAttribute(name, value === true ? "" : String(value));
  }
}

/** One listener a kind for as long as the node lives; it calls what was said last. */
function listen(node, handlers) {
  node.heard ??= new Set();
  for (const kind of Object.keys(handlers)) {
    if (node.heard.has(kind)) continue;
    node.heard.add(kind);
    node.addEventListener(kind, (event) => node.said.props.on?.[kind]?.(event));
  }
}

/** By the style's own interface, which the content policy allows where an attribute would be refused. */
function dress(node, style, before) {
  for (const name of Object.keys(before)) if (!(name in style)) node.style.removeProperty(name);
  for (const [name, value] of Object.entries(style)) {
    if (before[name] !== value) node.style.setProperty(name, String(value));
  }
}

function forget(node) {
  node.said?.props?.removed?.(node);
  for (const child of node.childNodes ?? []) forget(child);
}
