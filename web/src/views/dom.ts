/** Elements. Text goes into the page as text, never as markup. */

export const SVG = "http://www.w3.org/2000/svg";
const MATH = "http://www.w3.org/1998/Math/MathML";

export function element<K extends keyof HTMLElementTagNameMap>(name: K, text?: string,
  attributes: Record<string, string> = {}): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

export function shape(name: string, attributes: Record<string, string | number>, text?: string): SVGElement {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (text !== undefined) made.textContent = text;
  return made;
}

export function math(name: string): Element {
  return document.createElementNS(MATH, name);
}

const COLOURS = ["negative", "zero", "positive", "changed", "gradient"] as const;

/** Where a view stands: a document, or the shadow of an element, so that several views in a document are strangers. */
export class Page {
  readonly #colours = new Map<string, [number, number, number]>();

  constructor(private readonly root: Document | ShadowRoot) {}

  find(id: string): HTMLElement | null {
    return this.root.getElementById(id);
  }

  // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the caller knows its page
  byId<T extends Element = HTMLElement>(id: string): T {
    const found = this.find(id);
    if (!found) throw new Error(`the page has no #${id}`);
    return found as unknown as T;
  }

  one(selector: string): Element | null {
    return this.root.querySelector(selector);
  }

  all(selector: string): Iterable<Element> {
    return this.root.querySelectorAll(selector);
  }

  /** What has the focus here. */
  get active(): Element | null {
    return this.root.activeElement;
  }

  /** The element that has the theme. */
  get frame(): HTMLElement {
    return this.one("[data-theme]") as HTMLElement;
  }

  /** Act on keys that are pressed here, with the element that has the focus. */
  onkey(act: (event: KeyboardEvent, target: Element) => void): void {
    this.root.addEventListener("keydown", (event) => { act(event as KeyboardEvent, event.target as Element); });
  }

  /** Say something that happened, to everyone. */
  say(text: string): void {
    this.byId("message").textContent = text;
  }

  /** Read the colours of the theme, once it is another one: the browser computes all styles for that. */
  look(): void {
    const style = getComputedStyle(this.frame);
    for (const name of COLOURS) {
      const text = style.getPropertyValue(`--${name}`).trim();
      if (!text) return; // it stands in no document yet
      this.#colours.set(name, [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16)) as [number, number, number]);
    }
  }

  /** A colour of the theme as red, green and blue, as it was at the last look. */
  colour(name: typeof COLOURS[number]): [number, number, number] {
    if (!this.#colours.size) this.look();
    return this.#colours.get(name) ?? [0, 0, 0];
  }

  /** The colours of numbers between -1 and 1. */
  shades(): (x: number) => [number, number, number] {
    const negative = this.colour("negative"), zero = this.colour("zero"), positive = this.colour("positive");
    return (x) => {
      const end = x > 0 ? positive : negative, part = Math.min(Math.abs(x), 1);
      return zero.map((a, i) => Math.round(a + ((end[i] ?? 0) - a) * part)) as [number, number, number];
    };
  }
}

/** Do something once after the last of many calls. */
export function settled(milliseconds: number, act: () => void): () => void {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = window.setTimeout(act, milliseconds);
  };
}
