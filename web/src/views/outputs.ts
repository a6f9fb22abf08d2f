/** The outputs, and the upstream gradients that the sweep begins with. */

import type { Circuit } from "../model/circuit";
import { brief, isTensor, mark } from "../model/numbers";
import { element, type Page } from "./dom";
import { Field } from "./field";

export class Outputs {
  readonly #values: [number, HTMLElement][] = [];
  readonly #fields: [string, Field][] = [];

  constructor(page: Page, private readonly circuit: Circuit) {
    const root = page.byId("outputs");
    const several = circuit.arrivals.size > 1;
    for (const [text, slot] of circuit.model.outputs) {
      const block = element("div", undefined, { class: "source" }), head = element("div", undefined, { class: "head" });
      const value = element("span", "", { class: "value" });
      head.append(element("b", text), value);
      block.append(head);
      this.#values.push([slot, value]);
      const arrival = [...circuit.arrivals.values()].find(({ output }) => output === slot);
      if (arrival && !this.#fields.some(([name]) => name === arrival.name)) {
        const field = new Field(page, `upstream gradient on ${arrival.name}`, "float64", () => [-2, 2],
          (x) => { this.#fill(arrival.name, x); });
        field.root.prepend(element("span", "upstream", { class: "gradient" }));
        if (several) {
          const only = element("button", "only this", { type: "button",
            "aria-label": `The gradient of ${arrival.name} alone` });
          only.onclick = () => {
            for (const name of circuit.arrivals.keys()) this.#fill(name, Number(name === arrival.name));
          };
          field.root.append(only);
        }
        this.#fields.push([arrival.name, field]);
        block.append(field.root);
      }
      root.append(block);
    }
  }

  update(): void {
    for (const [slot, element] of this.#values) {
      element.textContent = this.circuit.fault ? "–" : mark(this.circuit.at(slot), this.circuit.slot(slot), false);
    }
    for (const [name, field] of this.#fields) {
      const g = this.circuit.arriving(name);
      const x = isTensor(g) ? g.every((x) => x === g[0]) ? g[0] ?? 0 : NaN : Number(g);
      if (!Number.isNaN(x)) field.update(x);
      field.field.placeholder = Number.isNaN(x) && isTensor(g) ? `${brief(g[0] ?? NaN)}, …` : "";
    }
  }

  /** One number for every element of the gradient on an output. */
  #fill(name: string, x: number): void {
    const g = this.circuit.arriving(name);
    this.circuit.arrive(name, isTensor(g) ? g.slice().fill(x) : x);
  }
}
