/** Elements. Text goes into the page as text, never as markup. */

export const SVG = "http://www.w3.org/2000/svg";
const MATH = "http://www.w3.org/1998/Math/MathML";

// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the caller knows its page
export function byId<T extends Element = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found as unknown as T;
}

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

/** Say something that happened, to everyone. */
export function say(text: string): void {
  byId("message").textContent = text;
}

/** A colour of the theme, by name, as red, green and blue. */
export function colour(name: string): [number, number, number] {
  const text = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  return [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16)) as [number, number, number];
}

/** The colours of numbers between -1 and 1. */
export function shades(): (x: number) => [number, number, number] {
  const negative = colour("negative"), zero = colour("zero"), positive = colour("positive");
  return (x) => {
    const end = x > 0 ? positive : negative, part = Math.min(Math.abs(x), 1);
    return zero.map((a, i) => Math.round(a + ((end[i] ?? 0) - a) * part)) as [number, number, number];
  };
}

export const isCalm = matchMedia("(prefers-reduced-motion: reduce)");

/** Do something once after the last of many calls. */
export function settled(milliseconds: number, act: () => void): () => void {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = window.setTimeout(act, milliseconds);
  };
}
