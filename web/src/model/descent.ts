/** Gradient descent with momentum, and its history. */

import type { Circuit } from "./circuit";
import type { Source, Value } from "./data";
import { copy, isTensor } from "./numbers";

/** The most numbers that the history keeps; beyond it every second moment goes. */
const KEPT = 4_000_000;

export interface Moment {
  step: number;
  loss: number;
  values: Map<string, Value>;
}

export class Descent {
  rate = 0.1;
  momentum = 0;
  readonly moments: Moment[] = [];
  /** The moment that is shown. */
  now = 0;
  #velocity = new Map<string, Float64Array>();
  #steps = 0;
  #stride = 1;

  constructor(private readonly circuit: Circuit) {}

  /** What moves: floats with a gradient that are not frozen. */
  moving(): Source[] {
    return this.circuit.movable().filter(({ name }) => !this.circuit.frozen.has(name));
  }

  /** x - rate · v, where v = momentum · v + the gradient: as torch's SGD. Bounds hold. */
  step(): void {
    this.circuit.settle();
    if (!this.moments.length) this.#remember();
    else if (this.now < this.moments.length - 1) this.#forgetAfter(this.now);
    for (const source of this.moving()) {
      const gradient = source.gradient === null ? 0 : this.circuit.at(source.gradient);
      const old = this.circuit.value(source.name);
      const size = isTensor(old) ? old.length : 1;
      const velocity = this.#velocity.get(source.name) ?? new Float64Array(size);
      this.#velocity.set(source.name, velocity);
      const next = copy(old);
      const { min = null, max = null } = this.circuit.bounds.get(source.name) ?? {};
      const bound = (x: number, i: number) => Math.min(Math.max(x, at(min, i, -Infinity)), at(max, i, Infinity));
      for (let i = 0; i < size; i++) {
        const v = velocity[i] = this.momentum * (velocity[i] ?? 0) + at(gradient, i, 0);
        const x = bound(at(old, i, NaN) - this.rate * v, i);
        if (isTensor(next)) next[i] = x;
        else this.circuit.assign(source.name, x);
      }
      if (isTensor(next)) this.circuit.assign(source.name, next);
    }
    this.circuit.compute();
    this.#steps++;
    if (this.#steps % this.#stride === 0) this.#remember();
    this.circuit.changed();
  }

  /** Go to a moment of the past. */
  go(to: number): void {
    const moment = this.moments[to];
    if (!moment) return;
    this.now = to;
    for (const [name, value] of moment.values) this.circuit.assign(name, copy(value));
  }

  forget(): void {
    this.moments.length = 0;
    this.#velocity.clear();
    this.#steps = this.now = 0;
    this.#stride = 1;
  }

  #remember(): void {
    const values = new Map(this.circuit.movable().map(({ name }) => [name, copy(this.circuit.value(name))]));
    this.moments.push({ step: this.#steps, loss: this.circuit.objective(), values });
    let size = 0;
    for (const value of values.values()) size += isTensor(value) ? value.length : 1;
    if (this.moments.length > 2 && (this.moments.length * size > KEPT || this.moments.length > 4000)) {
      this.moments.splice(0, Infinity, ...this.moments.filter((_, i) => i % 2 === 0));
      this.#stride *= 2;
    }
    this.now = this.moments.length - 1;
  }

  /** From here on it goes another way. */
  #forgetAfter(now: number): void {
    this.moments.length = now + 1;
    this.#steps = this.moments[now]?.step ?? 0;
    this.#velocity.clear();
  }
}

function at(value: Value | null, i: number, otherwise: number): number {
  if (value === null) return otherwise;
  const x = isTensor(value) ? value[i] ?? otherwise : Number(value);
  return Number.isNaN(x) && otherwise !== 0 ? otherwise : x;
}
