/** The output along one value: the curve, its slope, and the tangent at the value of now. */

import type { Circuit } from "../model/circuit";
import { along, choices, placeText, rangeOf, type Sample } from "../model/sampling";
import { draw } from "./chart";
import { Choice } from "./choice";
import type { Page } from "./dom";
import { Work } from "./work";

const SAMPLES = 121;

export class Curve {
  readonly choice: Choice;
  readonly #panel: HTMLDetailsElement;
  readonly #work = new Work();
  #samples: Sample[] = [];

  constructor(private readonly page: Page, private readonly circuit: Circuit) {
    this.#panel = page.byId<HTMLDetailsElement>("curve");
    const [first = { name: "", index: 0 }] = choices(circuit);
    this.choice = new Choice(page, circuit, "along", first, () => { this.update(); });
    this.#panel.addEventListener("toggle", () => { this.update(); });
  }

  update(): void {
    this.#work.stop();
    if (!this.#panel.open || !this.choice.place.name) return;
    const { place } = this.choice;
    const samples = along(this.circuit, place, rangeOf(this.circuit, place), SAMPLES);
    const found: Sample[] = [];
    this.#work.start(() => {
      const { value } = samples.next();
      if (value) found.push(value);
      else this.#samples = found;
      return value !== undefined;
    }, () => { this.#draw(found.length === SAMPLES ? found : this.#samples); });
  }

  #draw(samples: Sample[]): void {
    const { circuit } = this, { place } = this.choice;
    const x = circuit.number(place), slope = circuit.gradient(place), name = placeText(circuit, place);
    const xs = samples.map((sample) => sample.x), what = circuit.objectiveName();
    draw(this.page.byId<SVGElement>("curve-value"), { xs, ys: samples.map((sample) => sample.value), look: "",
      title: `${what} along ${name}`, here: [x, circuit.objective()], tangent: slope });
    draw(this.page.byId<SVGElement>("curve-slope"), { xs, ys: samples.map((sample) => sample.slope), look: "slope",
      title: `its slope: the gradient on ${name}`, here: [x, slope] });
  }
}
