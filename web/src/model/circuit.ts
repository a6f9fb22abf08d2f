/** A circuit that computes: its arguments, what is set by hand, and the values and gradients that follow. */

import type { Model, Module, Numbers, Setting, Slot, Source, Upstream, Value } from "./data";
import { asJson, copy, isFloat, isTensor, isZero, nearest, same, unpack, zeros } from "./numbers";

/** One number of an argument: the argument's name, and the place in a tensor. */
export interface Place {
  name: string;
  index: number;
}

export interface Bounds {
  min: Value | null;
  max: Value | null;
}

type Listener = () => void;

function number(member: string): Slot {
  return { member, shape: [], dtype: "float64" };
}

export class Circuit {
  readonly sources = new Map<string, Source>();
  readonly settings = new Map<string, Setting>();
  readonly arrivals = new Map<string, Upstream>();
  readonly frozen = new Set<string>();
  readonly bounds = new Map<string, Bounds>();
  /** Why the code gave no result, "" where it gave one. */
  fault = "";

  readonly #slots: Slot[];
  readonly #inputs: Record<string, Value> = Object.create(null) as Record<string, Value>;
  readonly #start: Record<string, Value>;
  #outputs: Record<string, Value> = {};
  readonly #listeners: Listener[] = [];
  #pending = false;
  #stale = false;

  constructor(readonly model: Model, private readonly module: Module) {
    this.#slots = model.slots.map((slot) => typeof slot === "string" ? number(slot) : slot);
    for (const source of model.sources) {
      this.sources.set(source.name, source);
      this.#inputs[source.member] = unpack(source.value, this.slot(source.slot));
      if (source.frozen) this.frozen.add(source.name);
      this.bounds.set(source.name, {
        min: source.min === null ? null : unpack(source.min, this.slot(source.slot)),
        max: source.max === null ? null : unpack(source.max, this.slot(source.slot)),
      });
    }
    for (const [name, flag, member, slot] of model.settings) {
      this.settings.set(name, { name, flag, member, slot });
      this.#inputs[flag] = false;
      this.#inputs[member] = zeros(this.slot(slot));
    }
    for (const arrival of model.upstream) {
      this.arrivals.set(arrival.name, arrival);
      this.#inputs[arrival.member] = unpack(arrival.value, this.slot(arrival.slot));
    }
    // Where there are parameters, inputs are data, which a descent leaves alone.
    if (model.sources.some(({ kind }) => kind === "parameter")) {
      for (const { name, kind } of model.sources) if (kind === "input") this.frozen.add(name);
    }
    this.#start = Object.fromEntries(Object.entries(this.#inputs).map(([key, value]) => [key, copy(value)]));
    this.compute();
  }

  slot(i: number): Slot {
    return this.#slots[i] ?? number("");
  }

  /** The value of a slot after the last computation. */
  at(i: number): Value {
    return this.#outputs[this.slot(i).member] ?? NaN;
  }

  /** The numbers of many slots. */
  all(slots: number[]): Numbers {
    const values = slots.map((i) => this.at(i));
    const numbers = new Float64Array(values.reduce<number>((sum, x) => sum + (isTensor(x) ? x.length : 1), 0));
    let end = 0;
    for (const value of values) {
      if (isTensor(value)) numbers.set(value, end);
      else numbers[end] = Number(value);
      end += isTensor(value) ? value.length : 1;
    }
    return numbers;
  }

  // Arguments

  value(name: string): Value {
    const source = this.sources.get(name);
    return source ? this.#inputs[source.member] ?? NaN : NaN;
  }

  /** The value that a source has at first. */
  start(name: string): Value {
    const source = this.sources.get(name);
    return source ? this.#start[source.member] ?? NaN : NaN;
  }

  assign(name: string, value: Value): void {
    const source = this.sources.get(name);
    if (!source) return;
    const { dtype } = this.slot(source.slot);
    this.#put(source.member, typeof value === "number" ? nearest(value, dtype) : value);
  }

  number({ name, index }: Place): number {
    const value = this.value(name);
    return Number(isTensor(value) ? value[index] ?? NaN : value);
  }

  /** Change one number of a source. */
  move({ name, index }: Place, x: number): void {
    const source = this.sources.get(name);
    if (!source) return;
    const value = this.value(name);
    if (isTensor(value)) {
      value[index] = x;
      this.changed();
    } else {
      this.assign(name, this.slot(source.slot).dtype === "bool" ? Boolean(x) : x);
    }
  }

  gradient({ name, index }: Place): number {
    const slot = this.sources.get(name)?.gradient ?? null;
    if (slot === null) return 0;
    const value = this.at(slot);
    return Number(isTensor(value) ? value[index] ?? 0 : value);
  }

  // What is set by hand

  isHeld(name: string): boolean {
    const setting = this.settings.get(name);
    return setting !== undefined && this.#inputs[setting.flag] === true;
  }

  held(name: string): Value {
    const setting = this.settings.get(name);
    return setting ? this.#inputs[setting.member] ?? NaN : NaN;
  }

  /** Set a gate to a value, whatever its operands are; null sets it free. */
  hold(name: string, value: Value | null): void {
    const setting = this.settings.get(name);
    if (!setting) return;
    if (value !== null) this.#inputs[setting.member] = value;
    this.#put(setting.flag, value !== null);
  }

  // Upstream gradients

  arriving(name: string): Value {
    const arrival = this.arrivals.get(name);
    return arrival ? this.#inputs[arrival.member] ?? NaN : NaN;
  }

  arrive(name: string, value: Value): void {
    const arrival = this.arrivals.get(name);
    if (arrival) this.#put(arrival.member, value);
  }

  startArriving(name: string): Value {
    const arrival = this.arrivals.get(name);
    return arrival ? this.#start[arrival.member] ?? NaN : NaN;
  }

  /** The outputs, each times its upstream gradient, added up: what the gradient is the gradient of. */
  objective(): number {
    let sum = 0;
    for (const arrival of this.arrivals.values()) {
      const g = this.arriving(arrival.name), out = this.at(arrival.output);
      if (isTensor(g) && isTensor(out)) {
        for (let i = 0; i < g.length; i++) if (g[i]) sum += (g[i] ?? 0) * (out[i] ?? 0);
      } else if (Number(g)) {
        sum += Number(g) * Number(out);
      }
    }
    return sum;
  }

  /** What the objective is, in words. */
  objectiveName(): string {
    const names = [...this.arrivals.keys()].filter((name) => {
      const g = this.arriving(name);
      return isTensor(g) ? g.some(Boolean) : Number(g) !== 0;
    });
    return names.map((name) => this.arriving(name) === 1 ? name
      : isTensor(this.arriving(name)) ? `Σ ${name}` : `${String(this.arriving(name))} ${name}`).join(" + ") || "0";
  }

  /** The numbers that a descent may move: floats with a gradient. */
  movable(): Source[] {
    return this.model.sources.filter(({ gradient, slot }) => gradient !== null && isFloat(this.slot(slot).dtype));
  }

  // Computation

  /** Both passes, at once. */
  compute(): void {
    this.#stale = false;
    // What is set, and an output that is left out, send nothing back; in a run, 0 times an infinite slope is NaN.
    this.#inputs[this.model.keeps] = [...this.settings.keys()].some((name) => this.isHeld(name))
      || [...this.arrivals.keys()].some((name) => isZero(this.arriving(name)) && !isZero(this.startArriving(name)));
    try {
      this.#outputs = this.module.value(this.#inputs).outputs;
      this.fault = "";
    } catch (error) {
      this.fault = error instanceof Error ? error.message : String(error);
    }
  }

  /** The objective and the slope along a place, where that has another value; nothing is changed by asking. */
  probe(changes: [Place, number][], along?: Place): { value: number; slope: number } {
    const before = changes.map(([place]) => this.number(place));
    const { fault } = this, outputs = this.#outputs, stale = this.#stale;
    const write = (x: (i: number) => number) => {
      changes.forEach(([place], i) => {
        const source = this.sources.get(place.name);
        const value = this.value(place.name);
        if (isTensor(value)) value[place.index] = x(i);
        else if (source) this.#inputs[source.member] = x(i);
      });
    };
    write((i) => changes[i]?.[1] ?? NaN);
    this.compute();
    const failed = this.fault !== "";
    const found = { value: failed ? NaN : this.objective(), slope: failed || !along ? NaN : this.gradient(along) };
    write((i) => before[i] ?? NaN);
    this.#outputs = outputs;
    this.fault = fault;
    this.#stale = stale;
    return found;
  }

  /** Everything as at first. */
  reset(): void {
    for (const [key, value] of Object.entries(this.#start)) this.#inputs[key] = copy(value);
    this.changed();
  }

  /** Whether everything is as at first. */
  get isAtStart(): boolean {
    return Object.entries(this.#start).every(([key, value]) => same(this.#inputs[key] ?? NaN, value));
  }

  isMoved(name: string): boolean {
    return !same(this.value(name), this.start(name));
  }

  /** The text of the document with the values of now, and the sources inside calls, which it has no place for. */
  json(): { text: string; left: string[] } {
    const stored = new Set(this.model.document.flatMap((piece) => typeof piece === "string" ? [] : [piece[0]]));
    const text = this.model.document.map((piece) => {
      if (typeof piece === "string") return piece;
      const [name, original] = piece, source = this.sources.get(name);
      return source && this.isMoved(name) ? asJson(this.value(name), this.slot(source.slot)) : original;
    }).join("");
    return { text, left: [...this.sources.keys()].filter((name) => !stored.has(name) && this.isMoved(name)) };
  }

  // Listeners, which are told once a frame

  listen(listener: Listener): void {
    this.#listeners.push(listener);
  }

  changed(): void {
    this.#stale = true;
    if (this.#pending) return;
    this.#pending = true;
    requestAnimationFrame(() => { this.flush(); });
  }

  /** Compute what is stale. */
  settle(): void {
    if (this.#stale) this.compute();
  }

  /** Compute what is stale, and tell everyone. */
  flush(): void {
    this.#pending = false;
    this.settle();
    for (const listener of this.#listeners) listener();
  }

  #put(member: string, value: Value): void {
    this.#inputs[member] = value;
    this.changed();
  }
}
