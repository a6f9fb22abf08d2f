/** The walk: nothing is there before the first step, everything after the last. It works at the values of now. */

import type { Circuit } from "../model/circuit";
import type { Line, Step } from "../model/data";
import { inLine } from "../model/numbers";
import { element, math, type Page } from "./dom";
import type { Window } from "./picture";
import { equal, type Formulas, row, total } from "./formulas";

interface Change { marks: Element[]; at: number }

export class Walk {
  now: number;
  readonly #changes: Change[];
  #timer = 0;
  /** Called after every step. */
  onstep: () => void = () => undefined;

  constructor(private readonly page: Page, private readonly steps: Step[],
    private readonly circuit: Circuit | null, private readonly formulas: Formulas | null,
    private readonly view: Window) {
    this.now = steps.length;
    const marks = (keys: string[] = [], kind: string) => keys.flatMap((key) =>
      [...this.page.find(key)?.querySelectorAll(`.${kind}`) ?? []]);
    this.#changes = steps.flatMap(({ values, gradients }, i) =>
      [{ marks: marks(values, "value"), at: i + 1 }, { marks: marks(gradients, "gradient"), at: i + 1 }]);
    const slider = this.page.byId<HTMLInputElement>("step");
    slider.max = String(steps.length);
    this.page.byId("first").onclick = () => { this.walk(0); };
    this.page.byId("back").onclick = () => { this.walk(this.now - 1); };
    this.page.byId("next").onclick = () => { this.walk(this.now + 1); };
    this.page.byId("last").onclick = () => { this.walk(steps.length); };
    this.page.byId("play").onclick = () => { this.play(); };
    slider.oninput = () => { this.walk(Number(slider.value)); };
    this.#go(steps.length);
  }

  get isUnderway(): boolean {
    return this.now < this.steps.length;
  }

  /** Go to a step, and stay there. */
  walk(step: number): void {
    this.#pause();
    this.#go(step);
  }

  play(): void {
    if (this.#timer) {
      this.#pause();
      return;
    }
    if (this.now === this.steps.length) this.#go(0);
    this.#timer = window.setInterval(() => { this.#go(this.now + 1); }, 900);
    this.page.byId("play").textContent = "||";
    this.page.byId("play").setAttribute("aria-label", "Pause");
  }

  update(): void {
    const before: Step = { phase: "before the forward pass", at: [], lines: [] };
    const { phase, heading, words, lines } = this.steps[this.now - 1] ?? before;
    const shown: Element[] = [element("p", phase, { class: "phase" })];
    if (heading || words) shown.push(element("p", [heading, words].filter(Boolean).join(": ")));
    const texts = lines.flatMap((line) => typeof line === "string" ? [line] : []);
    if (texts.length) shown.push(element("pre", texts.join("\n")));
    for (const line of lines) if (typeof line === "object") shown.push(...this.#line(line, phase));
    this.page.byId("told").replaceChildren(...shown);
  }

  #go(step: number): void {
    this.now = Math.min(Math.max(step, 0), this.steps.length);
    for (const { marks, at } of this.#changes) {
      for (const mark of marks) {
        mark.classList.toggle("unseen", at > this.now);
        mark.classList.toggle("fresh", at === this.now);
      }
    }
    for (const part of this.page.all("#picture .now")) part.classList.remove("now");
    for (const key of this.steps[this.now - 1]?.at ?? []) {
      this.page.find(key)?.classList.add("now");
    }
    const here = this.page.one("#picture .now");
    if (here) this.view.follow(here);
    this.update();
    this.page.byId<HTMLInputElement>("step").value = String(this.now);
    this.page.byId("count").textContent = `${this.now} of ${this.steps.length}`;
    if (this.now === this.steps.length) this.#pause();
    this.onstep();
  }

  #pause(): void {
    clearInterval(this.#timer);
    this.#timer = 0;
    this.page.byId("play").textContent = "▶▶";
    this.page.byId("play").setAttribute("aria-label", "Play");
  }

  #line(line: Line, phase: string): Element[] {
    const { circuit, formulas } = this;
    if (!circuit || !formulas) return [];
    const slot = circuit.slot(line.slot);
    const number = circuit.fault ? "–" : inLine(circuit.at(line.slot), slot);
    const sums = (line.sum ?? []).map((i) => Number(circuit.at(i)));
    const sum = line.sum && !slot.shape.length ? inLine(sums.reduce((a, b) => a + b), slot)
      : line.sum ? "the sum" : "";
    const remark = line.remark + sum ? `  # ${line.remark}${sum}` : "";
    const made = element("p", undefined, { class: "line" });
    made.append(element("code", `${line.text} ${number}${remark}`, { class: "code" }));
    if (line.formula !== null && line.left !== null) {
      const formula = math("math"), left = formulas.draw(line.left, false);
      const parts = [left, equal(), formulas.draw(line.formula, false)];
      const result = formulas.number(line.slot);
      if (result) {
        const inside = formulas.draw(line.formula, true);
        if (inside.textContent !== result.textContent) parts.push(equal(), inside);
        result.setAttribute("class", phase === "forward pass" ? "forward" : "backward");
        parts.push(equal(), result);
      }
      formula.append(row(...parts));
      made.append(formula);
    } else if (line.terms && line.left !== null) {
      const parts = line.terms.map((slot) => formulas.number(slot)), result = formulas.number(line.slot);
      const numbers = parts.flatMap((part) => part ? [part] : []);
      if (result && numbers.length === parts.length) {
        const formula = math("math");
        result.setAttribute("class", "backward");
        formula.append(row(formulas.draw(line.left, false), equal(), total(numbers), equal(), result));
        made.append(formula);
      }
    }
    return [made];
  }
}
