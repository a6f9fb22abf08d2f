"use strict";
const { steps, parts } = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const picture = byId("picture");
const svg = picture.querySelector("svg");

// Text goes into the page as text, never as markup.
function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// Pan and zoom: the part of the picture that is shown.

const whole = svg.viewBox.baseVal;
const fit = { x: whole.x, y: whole.y, width: whole.width, height: whole.height };
let view = { ...fit };

function show(next) {
  view = next;
  svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.width} ${view.height}`);
}

function zoom(factor, x = view.x + view.width / 2, y = view.y + view.height / 2) {
  const width = Math.min(Math.max(view.width * factor, 40), fit.width * 4);
  const scale = width / view.width;
  show({ x: x - (x - view.x) * scale, y: y - (y - view.y) * scale, width, height: view.height * scale });
}

function place(event) {
  const matrix = svg.getScreenCTM().inverse();
  return new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix);
}

svg.removeAttribute("width");
svg.removeAttribute("height");
picture.addEventListener("wheel", (event) => {
  event.preventDefault();
  const { x, y } = place(event);
  zoom(event.deltaY > 0 ? 1.15 : 1 / 1.15, x, y);
}, { passive: false });

const pointers = new Map();
picture.addEventListener("pointerdown", (event) => {
  pointers.set(event.pointerId, event);
});
picture.addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const others = [...pointers.values()].filter((other) => other.pointerId !== event.pointerId);
  const from = place(before), to = place(event);
  if (others.length) {
    const anchor = place(others[0]);
    const reach = (point) => Math.hypot(point.x - anchor.x, point.y - anchor.y) || 1;
    zoom(reach(from) / reach(to), anchor.x, anchor.y);
  } else {
    show({ ...view, x: view.x + from.x - to.x, y: view.y + from.y - to.y });
  }
  pointers.set(event.pointerId, event);
});
for (const end of ["pointerup", "pointercancel", "pointerleave"]) {
  picture.addEventListener(end, (event) => pointers.delete(event.pointerId));
}
byId("closer").onclick = () => zoom(1 / 1.3);
byId("farther").onclick = () => zoom(1.3);
byId("whole").onclick = () => show({ ...fit });

// Details of what is pointed at.

function describe(key) {
  const list = element("dl");
  for (const [heading, text] of parts[key]) {
    if (heading) list.append(element("dt", heading));
    list.append(element("dd", text));
  }
  byId("detail").replaceChildren(list);
}

// A wire is pointed at wherever its numbers are, also between them.
function area(box) {
  const made = document.createElementNS(svg.namespaceURI, "rect");
  for (const name of ["x", "y", "width", "height"]) made.setAttribute(name, box[name]);
  made.setAttribute("class", "area");
  return made;
}

// Of a tensor what is told in its first line is read out, not every number.
const spoken = (text) => text.split("\n[")[0];

for (const key of Object.keys(parts)) {
  const part = byId(key);
  if (!part || !parts[key].length) continue;
  part.setAttribute("tabindex", "0");
  part.setAttribute("role", "img");
  part.setAttribute("aria-label", parts[key].map(([heading, text]) => `${heading} ${spoken(text)}`.trim()).join(", "));
  if (part.classList.contains("wire")) part.prepend(area(part.getBBox()));
  part.addEventListener("pointerenter", () => pointers.size || describe(key));
  part.addEventListener("focus", () => describe(key));
}

// The steps: nothing is there before the first, everything after the last.

const marks = (key, kind) => byId(key)?.querySelectorAll(`.${kind}`) ?? [];
const brought = steps.flatMap(({ values = [], gradients = [] }, i) => [
  ...values.map((key) => ({ key, kind: "value", at: i + 1 })),
  ...gradients.map((key) => ({ key, kind: "gradient", at: i + 1 })),
]);
let now = steps.length;
let timer = null;

function go(step) {
  now = Math.min(Math.max(step, 0), steps.length);
  for (const { key, kind, at } of brought) {
    for (const mark of marks(key, kind)) {
      mark.classList.toggle("unseen", at > now);
      mark.classList.toggle("fresh", at === now);
    }
  }
  for (const part of svg.querySelectorAll(".now")) part.classList.remove("now");
  const told = byId("told");
  const { phase, heading, words, lines, at } = steps[now - 1] ?? {
    phase: "before the forward pass", lines: [], at: [],
  };
  for (const key of at) byId(key).classList.add("now");
  const shown = [element("p", phase, "phase")];
  if (heading || words) shown.push(element("p", [heading, words].filter(Boolean).join(": ")));
  if (lines.length) shown.push(element("pre", lines.join("\n")));
  told.replaceChildren(...shown);
  byId("step").value = now;
  byId("count").textContent = `${now} of ${steps.length}`;
  if (now === steps.length) pause();
}

function pause() {
  clearInterval(timer);
  timer = null;
  byId("play").textContent = "▶▶";
  byId("play").setAttribute("aria-label", "Play");
}

function play() {
  if (timer) return pause();
  if (now === steps.length) go(0);
  timer = setInterval(() => go(now + 1), 900);
  byId("play").textContent = "||";
  byId("play").setAttribute("aria-label", "Pause");
}

function walk(step) {
  pause();
  go(step);
}

if (steps.length) {
  byId("step").max = steps.length;
  byId("first").onclick = () => walk(0);
  byId("back").onclick = () => walk(now - 1);
  byId("next").onclick = () => walk(now + 1);
  byId("last").onclick = () => walk(steps.length);
  byId("play").onclick = play;
  byId("step").oninput = (event) => walk(Number(event.target.value));
  go(steps.length);
} else {
  byId("walk").remove();
  byId("told").remove();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")) return;
  const keys = { "+": () => zoom(1 / 1.3), "=": () => zoom(1 / 1.3), "-": () => zoom(1.3), 0: () => show({ ...fit }) };
  if (steps.length) {
    Object.assign(keys, {
      ArrowRight: () => walk(now + 1), ArrowLeft: () => walk(now - 1),
      Home: () => walk(0), End: () => walk(steps.length),
    });
    if (!event.target.matches("button")) keys[" "] = play;
  }
  if (keys[event.key]) {
    event.preventDefault();
    keys[event.key]();
  }
});
