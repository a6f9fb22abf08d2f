/** A choice of one number among the sources: a name, and of a tensor the place. */

import type { Circuit, Place } from "../model/circuit";
import { choices, placeText } from "../model/sampling";
import { element, type Page } from "./dom";

export class Choice {
  place: Place;
  readonly #select: HTMLSelectElement;

  constructor(private readonly page: Page, private readonly circuit: Circuit, private readonly id: string, first: Place,
    onchange: () => void) {
    this.place = first;
    this.#select = this.page.byId<HTMLSelectElement>(id);
    for (const { name } of choices(circuit)) this.#select.append(element("option", name, { value: name }));
    this.#select.onchange = () => {
      this.set({ name: this.#select.value, index: 0 });
      onchange();
    };
    this.#onplace = onchange;
    this.set(first);
  }

  readonly #onplace: () => void;

  set(place: Place): void {
    this.place = place;
    this.#select.value = place.name;
    const source = this.circuit.sources.get(place.name);
    const size = source ? this.circuit.slot(source.slot).shape.reduce((a, b) => a * b, 1) : 1;
    const beside = this.page.byId(`${this.id}-place`);
    if (size <= 1) {
      beside.replaceChildren();
      return;
    }
    const index = element("input", undefined, { type: "number", min: "0", max: String(size - 1), value:
      String(place.index), "aria-label": `element of ${place.name}, counted row by row` });
    const words = element("span", placeText(this.circuit, place), { class: "kind" });
    index.oninput = () => {
      const i = Number(index.value);
      if (!Number.isInteger(i) || i < 0 || i >= size) return;
      this.place = { ...this.place, index: i };
      words.textContent = placeText(this.circuit, this.place);
      this.#onplace();
    };
    beside.replaceChildren(index, words);
  }
}
