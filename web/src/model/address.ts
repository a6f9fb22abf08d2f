/** The state of a page as the fragment of its address, and back. What is read is checked: it may be anything. */

import type { Circuit } from "./circuit";
import type { Slot, Value } from "./data";
import { exact, fromBytes, holds, isTensor, parse, same, toBytes, zeros } from "./numbers";

/** The longest fragment that is written or read, in characters. */
export const LONGEST = 100_000;

/** The most elements of a tensor that a fragment names one by one. */
const FEW = 32;

/** A value as text, beside what it was at first. */
export function encode(value: Value, start: Value): string {
  if (typeof value === "boolean") return value ? "1" : "0";
  if (!isTensor(value)) return exact(value);
  const changed = [];
  for (let i = 0; i < value.length && changed.length <= FEW; i++) {
    if (!isTensor(start) || !Object.is(value[i], start[i])) changed.push(`${i}:${exact(value[i] ?? NaN)}`);
  }
  return changed.length <= FEW ? changed.join(",") : `b${toBytes(value)}`;
}

/** The value that a text says, or null where it says none of this shape and dtype. */
export function decode(text: string, slot: Slot, start: Value): Value | null {
  if (!isTensor(start)) {
    const x = parse(text, slot.dtype);
    return x === null ? null : slot.dtype === "bool" ? x !== 0 : x;
  }
  if (text.startsWith("b")) {
    try {
      const read = fromBytes(text.slice(1), slot.dtype);
      return read.length === start.length
        && read.every((x: number, i: number) => holds(x, slot.dtype) || Object.is(x, start[i])) ? read : null;
    } catch {
      return null;
    }
  }
  const value = start.slice();
  for (const part of text.split(",").slice(0, FEW)) {
    const [place, number] = part.split(":");
    const i = parse(place ?? "", "int64"), x = parse(number ?? "", slot.dtype);
    if (i === null || x === null || i < 0 || i >= value.length) return null;
    value[i] = x;
  }
  return value;
}

/** Everything that differs from the document; null where that is too long. */
export function write(circuit: Circuit, more: Record<string, string>): string | null {
  const pairs: [string, string][] = [];
  for (const [name] of circuit.sources) {
    if (circuit.isMoved(name)) pairs.push([`v.${name}`, encode(circuit.value(name), circuit.start(name))]);
  }
  for (const [name, { slot }] of circuit.settings) {
    if (circuit.isHeld(name)) pairs.push([`set.${name}`, encode(circuit.held(name), zeros(circuit.slot(slot)))]);
  }
  for (const [name] of circuit.arrivals) {
    const value = circuit.arriving(name), start = circuit.startArriving(name);
    if (!same(value, start)) pairs.push([`up.${name}`, encode(value, start)]);
  }
  pairs.push(...Object.entries(more));
  const text = new URLSearchParams(pairs).toString();
  return text.length > LONGEST ? null : text;
}

/** Take over what a fragment says of this circuit, and return the rest of it. What it has no place for is ignored. */
export function read(circuit: Circuit, fragment: string): URLSearchParams {
  const text = fragment.replace(/^#/, "");
  const pairs = new URLSearchParams(text.length > LONGEST ? "" : text);
  for (const [key, word] of pairs) {
    const dot = key.indexOf("."), kind = key.slice(0, dot), name = key.slice(dot + 1);
    if (kind === "v") {
      const source = circuit.sources.get(name);
      const value = source && decode(word, circuit.slot(source.slot), circuit.start(name));
      if (value !== null && value !== undefined) circuit.assign(name, value);
    } else if (kind === "set") {
      const setting = circuit.settings.get(name);
      const slot = setting && circuit.slot(setting.slot);
      const value = slot && decode(word, slot, zeros(slot));
      if (value !== null && value !== undefined) circuit.hold(name, value);
    } else if (kind === "up") {
      const arrival = circuit.arrivals.get(name);
      const value = arrival && decode(word, circuit.slot(arrival.slot), circuit.startArriving(name));
      if (value !== null && value !== undefined) circuit.arrive(name, value);
    }
  }
  return pairs;
}
