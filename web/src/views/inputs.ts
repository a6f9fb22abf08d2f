/** A slider and a field for every input and parameter. */

import type { Circuit, Place } from "../model/circuit";
import type { Source } from "../model/data";
import { brief, isFloat, isTensor, norm, shapeText } from "../model/numbers";
import { placeText, rangeOf } from "../model/sampling";
import { element, type Page } from "./dom";
import { Field } from "./field";
import { type Entry, List } from "./list";
import { grid, type Grid } from "./tensor";

export class Inputs {
  readonly #list: List<Row>;

  constructor(page: Page, circuit: Circuit) {
    const { sources } = circuit.model;
    this.#list = new List(page.byId("sources"), sources.map(({ name, label, kind }) => [name, `${kind} ${label}`]),
      "inputs and parameters", (i) => new Row(page, circuit, sources[i] as Source));
  }

  update(): void {
    this.#list.update();
  }

  /** New ranges of all sliders, as after a reset. */
  fit(): void {
    for (const row of this.#list.rows()) row.fit();
  }

  /** Go to a source. */
  focus(name: string): void {
    this.#list.row(name)?.focus();
  }
}

class Row implements Entry {
  readonly root = element("div", undefined, { class: "source", role: "group" });
  readonly #gradient = element("span", "", { class: "gradient" });
  readonly #field: Field | null = null;
  readonly #grid: Grid | null = null;
  readonly #chosen = element("span", "", { class: "kind", role: "status" });
  readonly #check: HTMLInputElement | null = null;
  readonly #freeze: HTMLInputElement | null = null;
  readonly #why = element("summary");
  #place: Place;

  constructor(page: Page, private readonly circuit: Circuit, private readonly source: Source) {
    const { name, kind, label } = source, slot = circuit.slot(source.slot);
    this.#place = { name, index: 0 };
    this.root.setAttribute("aria-label", name);
    const head = element("div", undefined, { class: "head" });
    const about = [kind, ...(slot.shape.length ? [shapeText(slot.shape)] : []), ...(label ? [label] : [])].join(", ");
    head.append(element("b", name), element("span", about, { class: "kind" }), this.#gradient);
    this.root.append(head);
    const isEmpty = slot.shape.some((size) => size === 0);
    if (slot.shape.length && !isEmpty) {
      this.#grid = grid(page, name, slot.shape, slot.dtype, (index, x) => { circuit.move({ name, index }, x); },
        (index) => {
          this.#place = { name, index };
          this.fit();
          this.update();
        }, () => { this.#field?.field.select(); });
      this.root.append(this.#grid.root, this.#chosen);
    }
    if (slot.dtype === "bool" && !slot.shape.length) {
      this.#check = element("input", undefined, { type: "checkbox", "aria-label": name });
      this.#check.addEventListener("change", () => { circuit.move(this.#place, Number(this.#check?.checked)); });
      this.root.append(this.#check);
    } else if (!isEmpty) {
      this.#field = new Field(page, name, slot.dtype, () => rangeOf(circuit, this.#place),
        (x) => { circuit.move(this.#place, x); });
      this.root.append(this.#field.root);
      this.#field.field.addEventListener("keydown", ({ key }) => {
        if (key === "Enter" || key === "Escape") this.#grid?.root.focus(); // back to the map
      });
    }
    if (source.gradient !== null && isFloat(slot.dtype)) {
      const freeze = this.#freeze = element("input", undefined, { type: "checkbox" });
      const words = element("label", undefined, { class: "kind", title: "A descent leaves it where it is" });
      words.append(freeze, " frozen");
      freeze.setAttribute("aria-label", `${name} is frozen: a descent leaves it where it is`);
      freeze.addEventListener("change", () => {
        if (freeze.checked) circuit.frozen.add(name);
        else circuit.frozen.delete(name);
        circuit.changed();
      });
      (this.#field?.root ?? this.root).append(words);
    }
    if (source.why) {
      const why = element("details", undefined, { class: "why" });
      why.append(this.#why, element("pre", source.why[1]));
      this.root.append(why);
    }
  }

  fit(): void {
    this.#field?.fit();
  }

  focus(): void {
    (this.#field?.field ?? this.#check)?.focus();
  }

  update(): void {
    const { circuit, source } = this, value = circuit.value(source.name);
    if (this.#grid && isTensor(value)) {
      this.#grid.update(value);
      this.#chosen.textContent = placeText(circuit, this.#place);
    }
    this.#field?.update(circuit.number(this.#place));
    if (this.#check) this.#check.checked = Boolean(value);
    if (this.#freeze) this.#freeze.checked = circuit.frozen.has(source.name);
    if (source.why) {
      const [verdict] = source.why;
      this.#why.textContent = `Why the gradient ${circuit.isAtStart ? `is ${verdict}` : `was ${verdict} at first`}`;
    }
    if (source.gradient === null) return;
    const gradient = circuit.at(source.gradient);
    this.#gradient.textContent = circuit.fault ? "–" : isTensor(gradient)
      ? `gradient ‖·‖ ${brief(norm(gradient))}` : `gradient ${brief(Number(gradient))}`;
  }
}
