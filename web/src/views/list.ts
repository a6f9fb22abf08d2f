/** A list of many rows: the first few are shown, and a field finds the others. */

import { element } from "./dom";

/** The most rows that are all shown at once; of more, so many at first and with each press. */
const MANY = 40, FEW = 12;

export interface Entry {
  root: HTMLElement;
  update(): void;
}

/** What a row is found by: its name, and other words. */
export type Words = [string, string];

export class List<T extends Entry> {
  readonly #rows = element("div");
  readonly #made = new Map<number, T>();
  readonly #search = element("input", undefined, { type: "search", autocomplete: "off", placeholder: "find" });
  readonly #count = element("span", "", { class: "kind", role: "status" });
  readonly #more = element("button", "more", { type: "button" });
  #found: number[];
  #shown: number;

  /** `what` names the rows in words; `make` gives one when it is first shown. */
  constructor(root: HTMLElement, private readonly words: Words[], private readonly what: string,
    private readonly make: (i: number) => T) {
    this.#found = words.map((_, i) => i);
    this.#shown = words.length > MANY ? FEW : MANY;
    root.replaceChildren(this.#rows);
    if (words.length > MANY) {
      const head = element("div", undefined, { class: "row" });
      this.#search.setAttribute("aria-label", `find among ${what}`);
      this.#search.addEventListener("input", () => { this.find(this.#search.value); });
      this.#more.setAttribute("aria-label", `show more ${what}`);
      this.#more.onclick = () => {
        this.#shown += FEW;
        this.#show();
      };
      head.append(this.#search, this.#count, this.#more);
      root.prepend(head);
    }
    this.#show();
  }

  /** Show the rows with a text in them, first the one that is named so. */
  find(text: string): void {
    this.#search.value = text;
    const wanted = text.trim().toLowerCase();
    const found = this.words.flatMap((words, i) => words.join(" ").toLowerCase().includes(wanted) ? [i] : []);
    const exact = found.filter((i) => this.words[i]?.[0].toLowerCase() === wanted);
    this.#found = [...new Set([...exact, ...found])];
    this.#shown = FEW;
    this.#show();
  }

  /** The row of a name, which is shown from now on. */
  row(name: string): T | undefined {
    const at = this.words.findIndex(([other]) => other === name);
    if (!this.#found.slice(0, this.#shown).includes(at)) this.find(name);
    return this.#made.get(at);
  }

  update(): void {
    for (const i of this.#found.slice(0, this.#shown)) this.#made.get(i)?.update();
  }

  /** All rows that were ever shown. */
  rows(): Iterable<T> {
    return this.#made.values();
  }

  #show(): void {
    const shown = this.#found.slice(0, this.#shown);
    for (const i of shown) if (!this.#made.has(i)) this.#made.set(i, this.make(i));
    this.#rows.replaceChildren(...shown.flatMap((i) => this.#made.get(i)?.root ?? []));
    this.#count.textContent = `${shown.length} of ${this.#found.length.toLocaleString("en")} ${this.what}`;
    this.#more.hidden = shown.length === this.#found.length;
    this.update();
  }
}
