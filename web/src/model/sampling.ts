/** Where a slider goes, and the objective along one or two values. */

import type { Circuit, Place } from "./circuit";
import { isFloat, isTensor, limits } from "./numbers";
import type { Value } from "./data";

/** 1, 2 or 5 times a power of ten, not below a positive number. */
export function niceAbove(x: number): number {
  const power = 10 ** Math.floor(Math.log10(x));
  const digit = [1, 2, 5, 10].find((digit) => digit * power >= x * (1 - 1e-12)) ?? 10;
  return digit * power;
}

/**
 * The range of a slider: bounds where there are some, else a round one on both sides of 0 that holds both numbers,
 * within the numbers of the dtype.
 */
export function rangeOf(circuit: Circuit, { name, index }: Place): [number, number] {
  const source = circuit.sources.get(name);
  const [least, most] = limits(source ? circuit.slot(source.slot).dtype : "float64");
  const { min = null, max = null } = circuit.bounds.get(name) ?? {};
  const low = element(min, index, -Infinity), high = element(max, index, Infinity);
  const start = circuit.start(name);
  const size = Math.max(...[element(start, index, 0), circuit.number({ name, index })].map(Math.abs)
    .filter(Number.isFinite), 0);
  const reach = size > 0 && size < 1e300 ? niceAbove(2 * size) : size || 1;
  if (low > -Infinity && high < Infinity) return [low, high];
  if (low > -Infinity) return [low, Math.max(low + reach, reach)];
  if (high < Infinity) return [Math.min(high - reach, -reach), high];
  return [Math.max(-reach, least), Math.min(reach, most)];
}

function element(value: Value | null, i: number, otherwise: number): number {
  return value === null ? otherwise : Number(isTensor(value) ? value[i] ?? otherwise : value);
}

/** A mixture of two numbers, whose difference may be beyond all numbers. */
function between(low: number, high: number, part: number): number {
  return low * (1 - part) + high * part;
}

export interface Sample {
  x: number;
  value: number;
  slope: number;
}

/** The objective and its slope along one value, some samples at a time. */
export function* along(circuit: Circuit, place: Place, [low, high]: [number, number],
  count: number): Generator<Sample, undefined> {
  for (let i = 0; i < count; i++) {
    const x = between(low, high, i / (count - 1));
    yield { x, ...circuit.probe([[place, x]], place) };
  }
}

export interface Tile {
  x: number;
  y: number;
  size: number;
  value: number;
}

/** The objective over two values, in tiles of the unit square that become finer. */
export function* over(circuit: Circuit, places: [Place, Place], ranges: [[number, number], [number, number]],
  finest: number): Generator<Tile, undefined> {
  for (let count = 8; count <= finest; count *= 2) {
    for (let i = 0; i < count * count; i++) {
      const x = i % count, y = Math.floor(i / count);
      const at = ranges.map(([low, high], axis) => between(low, high, ((axis ? y : x) + 0.5) / count));
      const { value } = circuit.probe([[places[0], at[0] ?? NaN], [places[1], at[1] ?? NaN]]);
      yield { x: x / count, y: y / count, size: 1 / count, value };
    }
  }
}

/** The places that a person can choose: a scalar, or the first element of a tensor. */
export function choices(circuit: Circuit): Place[] {
  return circuit.model.sources.filter(({ slot }) => isFloat(circuit.slot(slot).dtype) &&
    circuit.slot(slot).shape.every(Boolean)).map(({ name }) => ({ name, index: 0 }));
}

export function placeText(circuit: Circuit, { name, index }: Place): string {
  const source = circuit.sources.get(name);
  const shape = source ? circuit.slot(source.slot).shape : [];
  if (!shape.length) return name;
  const places = [];
  for (const length of [...shape].reverse()) {
    places.unshift(index % length);
    index = Math.floor(index / length);
  }
  return `${name}[${places.join(", ")}]`;
}
