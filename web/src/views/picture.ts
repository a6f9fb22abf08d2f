/** The picture: pan and zoom, the numbers on its wires, and what is pointed at. */

import type { Circuit } from "../model/circuit";
import type { Data, Numbers, Slots } from "../model/data";
import { brief, everything, isTensor, mark, norm, strip, together, whole } from "../model/numbers";
import { element, settled, shape, type Page } from "./dom";

interface Box { x: number; y: number; width: number; height: number }

/** Pixels for a point of the picture at which its text is easy to read. */
const LEGIBLE = 0.9;

/** So many numbers follow a move at once, since a browser lays text out slowly; of more, those in view do. */
const AT_ONCE = 300;

/** Pan and zoom: the part of the picture that is shown. */
export class Window {
  readonly #svg: SVGSVGElement;
  readonly #fit: Box;
  #view: Box;
  readonly #pointers = new Map<number, PointerEvent>();
  /** Called when another part is shown. */
  onshow: () => void = () => undefined;

  constructor(private readonly page: Page) {
    const picture = this.page.byId("picture");
    this.#svg = picture.querySelector("svg") as SVGSVGElement;
    const { x, y, width, height } = this.#svg.viewBox.baseVal;
    this.#fit = { x, y, width, height };
    this.#view = { ...this.#fit };
    this.#svg.removeAttribute("width");
    this.#svg.removeAttribute("height");
    this.#svg.setAttribute("preserveAspectRatio", "xMidYMin");
    picture.style.setProperty("--tall", `${height * LEGIBLE * 1.5}px`);
    // Where the whole would be too small to read, it begins with a part; the walk goes on to the others.
    const across = picture.clientWidth / LEGIBLE, down = picture.clientHeight / LEGIBLE;
    if (across && width * 0.75 > across) this.#show({ x, y, width: across, height: Math.min(height, down) });
    picture.addEventListener("wheel", (event) => {
      event.preventDefault();
      const { x, y } = this.#place(event);
      this.zoom(event.deltaY > 0 ? 1.15 : 1 / 1.15, x, y);
    }, { passive: false });
    picture.addEventListener("pointerdown", (event) => this.#pointers.set(event.pointerId, event));
    picture.addEventListener("pointermove", (event) => { this.#moved(event); });
    for (const end of ["pointerup", "pointercancel", "pointerleave"] as const) {
      picture.addEventListener(end, (event) => this.#pointers.delete(event.pointerId));
    }
    // Paper has room for the whole.
    let before = this.#view;
    matchMedia("print").addEventListener("change", ({ matches }) => {
      if (matches) before = this.#view;
      this.#show(matches ? { ...this.#fit } : before);
    });
    this.page.byId("closer").onclick = () => { this.zoom(1 / 1.3); };
    this.page.byId("farther").onclick = () => { this.zoom(1.3); };
    this.page.byId("whole").onclick = () => { this.whole(); };
  }

  get isMoving(): boolean {
    return this.#pointers.size > 0;
  }

  whole(): void {
    this.#show({ ...this.#fit });
  }

  /** Move so that a part that is outside is in the middle; whoever sees the whole picture keeps it. */
  follow(part: Element): void {
    const frame = this.page.byId("picture").getBoundingClientRect(), box = part.getBoundingClientRect();
    const isInside = box.left >= frame.left && box.right <= frame.right && box.top >= frame.top
      && box.bottom <= frame.bottom;
    const scale = this.#svg.getScreenCTM()?.a ?? 0;
    if (isInside || !scale) return;
    const view = this.#view;
    this.#show({ ...view, x: view.x + ((box.left + box.right) - (frame.left + frame.right)) / 2 / scale,
      y: view.y + ((box.top + box.bottom) - (frame.top + frame.bottom)) / 2 / scale });
  }

  zoom(factor: number, x = this.#view.x + this.#view.width / 2, y = this.#view.y + this.#view.height / 2): void {
    const view = this.#view;
    const width = Math.min(Math.max(view.width * factor, 40), this.#fit.width * 4);
    const scale = width / view.width;
    this.#show({ x: x - (x - view.x) * scale, y: y - (y - view.y) * scale, width, height: view.height * scale });
  }

  /** Where a part is, in the coordinates of the whole. */
  place(part: SVGGraphicsElement): Box {
    const { x, y, width, height } = part.getBBox(), own = part.getScreenCTM() ?? undefined;
    const matrix = this.#svg.getScreenCTM()?.inverse().multiply(own);
    const start = new DOMPoint(x, y).matrixTransform(matrix);
    const end = new DOMPoint(x + width, y + height).matrixTransform(matrix);
    return { x: start.x, y: start.y, width: end.x - start.x, height: end.y - start.y };
  }

  /** The part that is seen: what is shown, and what else has room in the middle or below. */
  seen(): Box {
    const { x, y, width, height } = this.#view, { clientWidth, clientHeight } = this.page.byId("picture");
    const scale = Math.min(clientWidth / width, clientHeight / height) || 1;
    const wide = clientWidth / scale;
    return { x: x - (wide - width) / 2, y, width: wide, height: clientHeight / scale };
  }

  #show(view: Box): void {
    this.#view = view;
    this.#svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.width} ${view.height}`);
    this.onshow();
  }

  #place(event: MouseEvent): DOMPoint {
    return new DOMPoint(event.clientX, event.clientY).matrixTransform(this.#svg.getScreenCTM()?.inverse());
  }

  #moved(event: PointerEvent): void {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    const other = [...this.#pointers.values()].find(({ pointerId }) => pointerId !== event.pointerId);
    const from = this.#place(before), to = this.#place(event);
    if (other) {
      const anchor = this.#place(other);
      const reach = (point: DOMPoint) => Math.hypot(point.x - anchor.x, point.y - anchor.y) || 1;
      this.zoom(reach(from) / reach(to), anchor.x, anchor.y);
    } else {
      this.#show({ ...this.#view, x: this.#view.x + from.x - to.x, y: this.#view.y + from.y - to.y });
    }
    this.#pointers.set(event.pointerId, event);
  }
}

interface Row {
  slot: Slots;
  isGradient: boolean;
  span: Element | null;
  prefix: string;
  cells: Element[];
  box: Box | null;
  shown: string;
}

function meet(a: Box, b: Box): boolean {
  return a.x <= b.x + b.width && b.x <= a.x + a.width && a.y <= b.y + b.height && b.y <= a.y + a.height;
}

/** The numbers on wires, which follow the circuit. */
export class Marks {
  readonly #rows: Row[] = [];
  /** The others, when moves have settled. */
  readonly #rest = settled(300, () => { this.#follow(this.#rows); });

  constructor(private readonly page: Page, private readonly circuit: Circuit, private readonly view: Window,
    wires: Record<string, [Slots | null, Slots | null]>) {
    const places: Element[] = [];
    for (const [key, slots] of Object.entries(wires)) {
      const wire = this.page.find(key);
      if (!wire) continue;
      wire.querySelector("title")?.remove(); // it holds the numbers of one run
      slots.forEach((slot, i) => {
        const kind = i ? "gradient" : "value";
        const span = wire.querySelector(`tspan.${kind}`);
        if (slot === null || !span) return;
        const text = span.textContent;
        this.#rows.push({ slot, isGradient: i === 1, span, prefix: text.slice(0, text.length - text.trimStart().length),
          cells: [...wire.querySelectorAll(`polygon.${kind}`)], box: null, shown: text });
        places.push(wire);
      });
    }
    if (this.#rows.length <= AT_ONCE) return;
    this.#rows.forEach((row, i) => { row.box = view.place(places[i] as SVGGraphicsElement); });
    view.onshow = () => { this.update(); };
  }

  update(): void {
    if (this.#rows.length <= AT_ONCE) {
      this.#follow(this.#rows);
      return;
    }
    const seen = this.view.seen();
    this.#follow(this.#rows.filter(({ box }) => box && meet(box, seen)));
    this.#rest();
  }

  #follow(rows: Row[]): void {
    const shade = this.page.shades();
    for (const row of rows) {
      if (typeof row.slot === "object" && !row.isGradient) continue; // it counts values
      const value = typeof row.slot === "object" ? this.circuit.all(row.slot) : this.circuit.at(row.slot);
      const told = this.circuit.fault ? "–" : typeof row.slot === "object" ? `‖·‖ ${brief(norm(value as Numbers))}`
        : mark(value, this.circuit.slot(row.slot), row.isGradient);
      const text = row.prefix + told;
      if (text !== row.shown && row.span) row.span.textContent = row.shown = text;
      if (row.cells.length && isTensor(value)) {
        strip(value, row.cells.length).forEach((x, i) => {
          const fill = `rgb(${shade(x).join(" ")})`, cell = row.cells[i];
          if (cell?.getAttribute("fill") !== fill) cell?.setAttribute("fill", fill);
        });
      }
    }
  }
}

/** What is pointed at, with its numbers in full. */
export class Detail {
  #key = "";
  /** Called with the key of a vertex that a person chooses, and whether by the keyboard. */
  onchoose: (key: string, isTyped: boolean) => void = () => undefined;

  constructor(private readonly page: Page, private readonly parts: Data["parts"],
    private readonly circuit: Circuit | null, view: Window) {
    const areas: [Element, DOMRect][] = [];
    for (const key of Object.keys(parts)) {
      const part = this.page.find(key);
      if (!part || !parts[key]?.length) continue;
      part.setAttribute("tabindex", "0");
      part.setAttribute("role", "img");
      if (part.classList.contains("wire")) areas.push([part, (part as unknown as SVGGElement).getBBox()]);
      part.addEventListener("pointerenter", () => { if (!view.isMoving) this.describe(key); });
      part.addEventListener("focus", () => {
        if (part.matches(":focus-visible")) view.follow(part); // the tab key leads beyond what is shown
        this.describe(key);
      });
      part.addEventListener("click", () => { this.onchoose(key, false); });
      part.addEventListener("keydown", (event) => {
        if (event.key === "Enter") this.onchoose(key, true);
      });
    }
    for (const [part, box] of areas) part.prepend(area(box)); // all at once: each change makes the next box slow
    this.label();
    circuit?.listen(settled(300, () => { this.label(); }));
  }

  describe(key: string): void {
    this.#key = key;
    this.update();
  }

  update(): void {
    if (!this.#key) return;
    const list = element("dl"), tips: HTMLElement[] = [];
    for (const [heading, text] of this.parts[this.#key] ?? []) {
      if (heading) list.append(element("dt", heading), element("dd", this.#text(text, false)));
      else tips.push(element("div", this.#text(text, false), { class: "tip" }));
    }
    this.page.byId("detail").replaceChildren(...tips, list);
  }

  /** What screen readers say of every part; of a tensor its first line, not every number. */
  label(): void {
    for (const [key, entries] of Object.entries(this.parts)) {
      this.page.find(key)?.setAttribute("aria-label", entries.map(([heading, text]) =>
        `${heading} ${this.#text(text, true)}`.trim()).join(", "));
    }
  }

  #text(text: string | Slots, spoken: boolean): string {
    if (typeof text === "string") return spoken ? text.split("\n[")[0] ?? "" : text;
    if (!this.circuit) return "";
    if (this.circuit.fault) return "–";
    if (typeof text === "object") return together(this.circuit.all(text));
    const value = this.circuit.at(text), slot = this.circuit.slot(text);
    if (!isTensor(value)) return whole(value, slot.dtype);
    return spoken ? everything(value, slot, 0).split("\n")[0] ?? "" : everything(value, slot);
  }
}

/** A wire is pointed at wherever its numbers are, also between them. */
function area(box: DOMRect): SVGElement {
  return shape("rect", { x: box.x, y: box.y, width: box.width, height: box.height, class: "area" });
}
