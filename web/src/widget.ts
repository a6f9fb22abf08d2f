/** The view in a notebook, as anywidget mounts it: its values are the model's, and the other way around. */

import type { Circuit } from "./model/circuit";
import type { Data, Module, Packed, Slot, Value } from "./model/data";
import { pack, same, unpack } from "./model/numbers";
import { mount } from "./view";
import { Page } from "./views/dom";

/** What this uses of a model of anywidget. */
export interface Model {
  get(name: "_moves"): Moves;
  set(name: "_moves", value: Moves): void;
  save_changes(): void;
  on(event: "change:_moves", listener: () => void): void;
  off(event: "change:_moves", listener: () => void): void;
}

/** What differs from the document, by name. */
export interface Moves {
  values: Record<string, Packed>;
  held: Record<string, Packed>;
  upstream: Record<string, Packed>;
}

/** The parts of a view that Python makes. */
export interface Parts {
  data: Data;
  /** The elements around the picture: markup that no document has a part in. */
  frame: string;
  style: string;
  /** The picture, as SVG. */
  drawing: string;
  title: string;
  notes: string[];
}

/** Milliseconds between two messages to the kernel. */
const PAUSE = 50;

/** Elements and attributes of a picture; nothing else of it enters the page. */
const ELEMENTS = new Set(["svg", "g", "title", "desc", "path", "polygon", "polyline", "ellipse", "rect", "text",
  "tspan"]);
const SCRIPTED = /^(on|href$|src$|style$|xlink)/i;

/** Show a view in an element; returns what takes it down. */
export function widget(model: Model, element: HTMLElement, module: Module, parts: Parts): () => void {
  const host = document.createElement("div");
  host.dataset.lmSuppressShortcuts = "true"; // the keys of JupyterLab
  element.append(host);
  const shadow = host.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(parts.style);
  shadow.adoptedStyleSheets = [sheet];
  const frame = document.createElement("div");
  frame.className = "page";
  frame.dataset.theme = behind(element);
  frame.append(...new DOMParser().parseFromString(parts.frame, "text/html").body.childNodes);
  shadow.append(frame);
  const page = new Page(shadow);
  page.byId("picture").append(drawn(parts.drawing));
  page.byId("title").textContent = parts.title;
  page.byId("notes").append(...parts.notes.map((note) => {
    const line = document.createElement("p");
    line.textContent = note;
    return line;
  }));
  shadow.addEventListener("keydown", (event) => { event.stopPropagation(); });
  const circuit = mount(page, parts.data, module, null);
  return circuit ? synchronised(model, circuit, host) : () => { host.remove(); };
}

function synchronised(model: Model, circuit: Circuit, host: HTMLElement): () => void {
  let timer = 0;
  const receive = () => { take(circuit, model.get("_moves")); };
  receive();
  model.on("change:_moves", receive);
  const isNew = () => JSON.stringify(moves(circuit)) !== JSON.stringify(model.get("_moves"));
  circuit.listen(() => {
    if (timer || circuit.fault) return;
    timer = window.setTimeout(() => {
      timer = 0;
      if (circuit.fault || !isNew()) return;
      model.set("_moves", moves(circuit));
      model.save_changes();
    }, PAUSE);
  });
  return () => {
    clearTimeout(timer);
    timer = -1;
    model.off("change:_moves", receive);
    host.remove();
  };
}

/** What differs from the document now. */
function moves(circuit: Circuit): Moves {
  const found: Moves = { values: {}, held: {}, upstream: {} };
  for (const name of circuit.sources.keys()) if (circuit.isMoved(name)) found.values[name] = pack(circuit.value(name));
  for (const name of circuit.settings.keys()) if (circuit.isHeld(name)) found.held[name] = pack(circuit.held(name));
  for (const name of circuit.arrivals.keys()) {
    const value = circuit.arriving(name);
    if (!same(value, circuit.startArriving(name))) found.upstream[name] = pack(value);
  }
  return found;
}

/** The look of what an element stands on: notebooks have themes of their own. */
function behind(element: Element): string {
  for (let part: Element | null = element; part; part = part.parentElement) {
    const channels = getComputedStyle(part).backgroundColor.match(/[\d.]+/g)?.map(Number) ?? [];
    const [r = 0, g = 0, b = 0, opacity = 1] = channels;
    if (channels.length >= 3 && opacity > 0.5) return 0.3 * r + 0.6 * g + 0.1 * b < 128 ? "dark" : "light";
  }
  return "auto";
}

/** The elements of a picture. A document has named them, so whatever else they are stays outside. */
function drawn(text: string): Element {
  const root = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
  for (const part of [root, ...root.querySelectorAll("*")]) {
    if (!ELEMENTS.has(part.localName)) part.remove();
    for (const { name } of [...part.attributes]) if (SCRIPTED.test(name)) part.removeAttribute(name);
  }
  return root;
}

/** Make them differ so, and in nothing else. */
function take(circuit: Circuit, { values, held, upstream }: Moves): void {
  const read = (packed: Packed | undefined, slot: Slot, otherwise: Value) =>
    packed === undefined ? otherwise : unpack(packed, slot);
  const put = (old: Value, now: Value, act: (value: Value) => void) => { if (!same(old, now)) act(now); };
  for (const [name, { slot }] of circuit.sources) {
    put(circuit.value(name), read(values[name], circuit.slot(slot), circuit.start(name)),
      (value) => { circuit.assign(name, value); });
  }
  for (const [name, { slot }] of circuit.settings) {
    const packed = held[name];
    if (packed === undefined) {
      if (circuit.isHeld(name)) circuit.hold(name, null);
      continue;
    }
    const now = unpack(packed, circuit.slot(slot));
    if (!circuit.isHeld(name) || !same(circuit.held(name), now)) circuit.hold(name, now);
  }
  for (const [name, { slot }] of circuit.arrivals) {
    put(circuit.arriving(name), read(upstream[name], circuit.slot(slot), circuit.startArriving(name)),
      (value) => { circuit.arrive(name, value); });
  }
}
