/** The outputs, and the upstream gradients that the sweep begins with. */

import type { Circuit } from "../model/circuit";
import type { Upstream } from "../model/data";
import { brief, isTensor, mark } from "../model/numbers";
import { element, type Page } from "./dom";
import { Field } from "./field";
import { type Entry, List } from "./list";

export class Outputs {
  readonly #list: List<Row>;

  constructor(page: Page, circuit: Circuit) {
    const { outputs } = circuit.model;
    const left = new Map([...circuit.arrivals.values()].map((arrival) => [arrival.output, arrival]));
    const arrivals = outputs.map(([, slot]) => {
      const arrival = left.get(slot);
      left.delete(slot); // a value that is an output twice has one
      return arrival;
    });
    this.#list = new List(page.byId("outputs"), outputs.map(([text]) => [text, ""]), "outputs", (i) => {
      const [text, slot] = outputs[i] ?? ["", 0];
      return new Row(page, circuit, text, slot, arrivals[i]);
    });
  }

  update(): void {
    this.#list.update();
  }
}

class Row implements Entry {
  readonly root = element("div", undefined, { class: "source" });
  readonly #value = element("span", "", { class: "value" });
  readonly #field: Field | null = null;

  constructor(page: Page, private readonly circuit: Circuit, text: string, private readonly slot: number,
    private readonly arrival: Upstream | undefined) {
    const head = element("div", undefined, { class: "head" });
    head.append(element("b", text), this.#value);
    this.root.append(head);
    if (arrival) {
      const { name } = arrival;
      const field = this.#field = new Field(page, `upstream gradient on ${name}`, "float64", () => [-2, 2],
        (x) => { this.#fill(name, x); });
      field.root.prepend(element("span", "upstream", { class: "gradient" }));
      if (circuit.arrivals.size > 1) {
        const only = element("button", "only this",
          { type: "button", "aria-label": `only this: the gradient of ${name} alone` });
        only.onclick = () => {
          for (const other of circuit.arrivals.keys()) this.#fill(other, Number(other === name));
        };
        field.root.append(only);
      }
      this.root.append(field.root);
    }
  }

  update(): void {
    const { circuit, slot } = this;
    this.#value.textContent = circuit.fault ? "–" : mark(circuit.at(slot), circuit.slot(slot), false);
    if (!this.#field || !this.arrival) return;
    const g = circuit.arriving(this.arrival.name);
    const x = isTensor(g) ? g.every((x) => x === g[0]) ? g[0] ?? 0 : NaN : Number(g);
    if (!Number.isNaN(x)) this.#field.update(x);
    this.#field.field.placeholder = Number.isNaN(x) && isTensor(g) ? `${brief(g[0] ?? NaN)}, …` : "";
  }

  /** One number for every element of the gradient on an output. */
  #fill(name: string, x: number): void {
    const g = this.circuit.arriving(name);
    this.circuit.arrive(name, isTensor(g) ? g.slice().fill(x) : x);
  }
}
