/** "Set this wire and see": a gate that is held at a value, whatever its operands are. */

import type { Circuit } from "../model/circuit";
import type { Data } from "../model/data";
import { copy, isTensor } from "../model/numbers";
import { niceAbove } from "../model/sampling";
import { element, type Page } from "./dom";
import { Field } from "./field";

export class Settings {
  readonly #root: HTMLElement;
  readonly #home: HTMLElement;
  readonly #names: [string, string[]][];
  #name = "";
  #field: Field | null = null;
  #check: HTMLInputElement | null = null;

  constructor(private readonly page: Page, private readonly circuit: Circuit,
    private readonly nodes: Record<string, string[]>, members: NonNullable<Data["members"]>) {
    this.#names = [...Object.entries(nodes), ...Object.entries(members).map(([key, rows]) =>
      [key, rows.map(([name]) => name)] as [string, string[]])];
    this.#root = page.byId("setting");
    this.#home = page.byId("setting-home");
    this.#root.addEventListener("keydown", ({ key }) => {
      if (key === "Escape") (this.page.one("#picture .chosen") as SVGElement | null)?.focus();
    });
  }

  /** Go to what is offered, which may be far behind the picture for who moves by keys. */
  focus(): void {
    if (!this.#root.hidden) this.#check?.focus();
  }

  /** Offer to set the first value of a vertex that can be set; of a box that stands for many nodes, none. */
  choose(key: string): void {
    for (const part of this.page.all("#picture .chosen")) part.classList.remove("chosen");
    this.page.find(key)?.classList.add("chosen");
    this.offer(this.nodes[key]?.find((name) => this.circuit.settings.has(name)), this.#home);
  }

  /** Offer to set a value, at a place of the page. */
  offer(name: string | undefined, place: HTMLElement): void {
    place.append(this.#root);
    this.#root.hidden = name === undefined;
    this.#name = name ?? "";
    if (name === undefined) return;
    const slot = this.circuit.slot(this.circuit.settings.get(name)?.slot ?? 0);
    const check = this.#check = element("input", undefined, { type: "checkbox" });
    const words = element("label", undefined, { class: "row" });
    words.append(check, `Set ${name} by hand: its operands no longer count`);
    check.addEventListener("change", () => {
      this.circuit.hold(name, check.checked ? copy(this.#now(name)) : null);
    });
    const label = slot.shape.length ? `every element of ${name}` : name;
    const field = this.#field = new Field(this.page, label, slot.dtype, () => {
      const x = Math.abs(this.#number(name));
      const reach = x > 0 && Number.isFinite(x) ? niceAbove(2 * x) : 1;
      return [-reach, reach];
    }, (x) => {
      const now = this.#now(name);
      this.circuit.hold(name, isTensor(now) ? now.slice().fill(x) : x);
    });
    this.#root.replaceChildren(words, field.root);
    this.update();
  }

  update(): void {
    for (const [key, names] of this.#names) {
      this.page.find(key)?.classList.toggle("held", names.some((name) => this.circuit.isHeld(name)));
    }
    if (!this.#name) return;
    if (this.#check) this.#check.checked = this.circuit.isHeld(this.#name);
    this.#field?.update(this.#number(this.#name));
  }

  #now(name: string): ReturnType<Circuit["at"]> {
    return this.circuit.at(this.circuit.settings.get(name)?.slot ?? 0);
  }

  #number(name: string): number {
    const value = this.#now(name);
    return Number(isTensor(value) ? value[0] ?? NaN : value);
  }
}
