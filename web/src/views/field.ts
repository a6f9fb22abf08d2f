/** A number field with a slider beside it. */

import { brief, exact, isFloat, parse } from "../model/numbers";
import { element, type Page } from "./dom";

/** Positions of a slider. */
const NOTCHES = 1000;

export class Field {
  readonly root = element("div", undefined, { class: "row" });
  readonly field = element("input", undefined, { type: "text", inputmode: "decimal", autocomplete: "off" });
  readonly slider = element("input", undefined, { type: "range" });
  #range: [number, number] = [0, 1];

  /** `range` gives the ends of the slider, `onchange` gets every number that is chosen. */
  constructor(private readonly page: Page, label: string, private readonly dtype: string,
    private readonly range: () => [number, number], onchange: (x: number) => void) {
    this.field.setAttribute("aria-label", label);
    this.slider.setAttribute("aria-label", `${label}, slider`);
    this.field.addEventListener("input", () => {
      const x = parse(this.field.value, dtype);
      this.field.classList.toggle("wrong", x === null);
      this.field.setAttribute("aria-invalid", String(x === null));
      if (x === null) return;
      onchange(x);
      this.fit();
    });
    this.slider.addEventListener("input", () => { onchange(Number(this.slider.value)); });
    this.root.append(this.field, this.slider);
  }

  update(x: number): void {
    const text = exact(x, this.dtype);
    if (this.page.active !== this.field || parse(this.field.value, this.dtype) !== x) {
      if (this.page.active !== this.field) {
        this.field.classList.remove("wrong");
        this.field.removeAttribute("aria-invalid");
      }
      if (this.field.value !== text && this.page.active !== this.field) this.field.value = text;
    }
    if (x < this.#range[0] || x > this.#range[1] || this.slider.max === "") this.fit();
    // A slider that is moved keeps its place.
    if (this.page.active !== this.slider || Number(this.slider.value) !== x) this.slider.value = text;
    this.slider.setAttribute("aria-valuetext", brief(x, this.dtype));
  }

  /** Take the ends of the range of now. */
  fit(): void {
    this.#range = this.range();
    const [low, high] = this.#range;
    this.slider.min = String(low);
    this.slider.max = String(high);
    this.slider.step = isFloat(this.dtype) ? String(high / NOTCHES - low / NOTCHES) : "1";
  }
}
