/** Numbers as texts, in the same forms as Python's side writes them, and as bytes. */

import type { Numbers, Packed, Slot, Value } from "./data";

const ARRAYS: Record<string, new (buffer: ArrayBuffer) => Numbers> = {
  float64: Float64Array, float32: Float32Array, bool: Uint8Array, int64: Float64Array, uint64: Float64Array,
  int8: Int8Array, int16: Int16Array, int32: Int32Array, uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array,
};

const NAMED: Record<string, number> = { NaN, Infinity, "-Infinity": -Infinity, "-0": -0 };

export function isTensor(value: Value): value is Numbers {
  return typeof value === "object";
}

export function isFloat(dtype: string): boolean {
  return dtype.startsWith("float");
}

/** The least and the largest number of a dtype that a page can have exactly. */
export function limits(dtype: string): [number, number] {
  if (isFloat(dtype)) return [-Infinity, Infinity];
  if (dtype === "bool") return [0, 1];
  const bits = Number(/\d+/.exec(dtype)?.[0]), most = Number.MAX_SAFE_INTEGER;
  const [low, high] = dtype.startsWith("u") ? [0, 2 ** bits - 1] : [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1];
  return [Math.max(low, -most), Math.min(high, most)];
}

/** Where a number stands between two others, from 0 to 1, however large they are. */
export function share(x: number, low: number, high: number): number {
  return Number.isFinite(high - low) ? (x - low) / (high - low) : (x / 2 - low / 2) / (high / 2 - low / 2);
}

/** The number of a dtype that is nearest to another one. */
export function nearest(x: number, dtype: string): number {
  return dtype === "float32" ? Math.fround(x) : isFloat(dtype) ? x : x + 0; // no integer is -0
}

/** Whether a number is finite and one that a dtype has. */
export function holds(x: number, dtype: string): boolean {
  const [low, high] = limits(dtype);
  return Number.isFinite(x) && (isFloat(dtype) || Number.isInteger(x)) && x >= low && x <= high;
}

/** A number as text that gives it back bit by bit; for a float32 the shortest such text. */
export function exact(x: number, dtype = "float64"): string {
  for (let digits = 1; dtype === "float32" && Number.isFinite(x) && digits < 9; digits++) {
    const short = Number(x.toPrecision(digits));
    if (Object.is(Math.fround(short), x)) return exact(short);
  }
  return Object.is(x, -0) ? "-0" : String(x);
}

export function zeros({ shape, dtype }: Slot): Value {
  if (!shape.length) return dtype === "bool" ? false : 0;
  const array = ARRAYS[dtype] ?? Float64Array;
  const size = shape.reduce((a, b) => a * b, 1);
  return new array(new ArrayBuffer(size * new array(new ArrayBuffer(0)).BYTES_PER_ELEMENT));
}

export function unpack(packed: Packed, { shape, dtype }: Slot): Value {
  if (!shape.length) return typeof packed === "string" ? NAMED[packed] ?? NaN : packed ?? NaN;
  return fromBytes(String(packed), dtype);
}

/** A value as `unpack` reads it. */
export function pack(value: Value): Packed {
  if (isTensor(value)) return toBytes(value);
  return typeof value === "boolean" || (Number.isFinite(value) && !Object.is(value, -0)) ? value : exact(value);
}

/** Base 64 as numbers; text that is none is refused with an error. */
export function fromBytes(text: string, dtype: string): Numbers {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new (ARRAYS[dtype] ?? Float64Array)(bytes.buffer);
}

export function toBytes(numbers: Numbers): string {
  let text = "";
  for (const byte of new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength)) {
    text += String.fromCharCode(byte);
  }
  return btoa(text);
}

export function copy(value: Value): Value {
  return isTensor(value) ? value.slice() : value;
}

/** Whether all numbers are 0. */
export function isZero(value: Value): boolean {
  return isTensor(value) ? value.every((x: number) => x === 0) : Number(value) === 0;
}

export function same(a: Value, b: Value): boolean {
  if (!isTensor(a) || !isTensor(b)) return Object.is(a, b);
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return false;
  return true;
}

export function norm(numbers: Numbers): number {
  let sum = 0;
  for (let i = 0; i < numbers.length; i++) { // an iterator takes five times as long
    const x = numbers[i] ?? NaN;
    sum += x * x;
  }
  return Math.sqrt(sum);
}

export function shapeText(shape: number[]): string {
  return shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
}

function exponent(text: string): string {
  return text.replace(/e([+-])(\d)$/, "e$10$2");
}

function nonFinite(x: number): string {
  return Number.isNaN(x) ? "NaN" : x > 0 ? "∞" : "-∞";
}

function twoDigits(x: number): string {
  const hundredths = Math.abs(x) * 100;
  // A tie goes to the even digit, as in Python; only multiples of 1/8 can be one.
  if (Number.isInteger(x * 8) && !Number.isInteger(hundredths) && Number.isInteger(hundredths * 2)) {
    const even = 2 * Math.round(hundredths / 2);
    return (Math.sign(x) * even / 100).toFixed(2);
  }
  return x.toFixed(2);
}

/** A number with two digits after the point; a small one with two significant digits. */
export function brief(value: number | boolean, dtype = "float64"): string {
  if (typeof value === "boolean" || dtype === "bool") return value ? "true" : "false";
  const x = value + 0;
  const size = Math.abs(x);
  if (!isFloat(dtype)) return size < 1e6 ? String(x) : exponent(x.toExponential(1));
  if (!Number.isFinite(x)) return nonFinite(x);
  if (size >= 1e5 || (size > 0 && size < 1e-3)) return exponent(x.toExponential(1));
  return size === 0 || size >= 0.0995 ? twoDigits(x) : String(Number(x.toPrecision(2)));
}

/** A number with six digits. */
export function short(value: number | boolean): string {
  if (typeof value === "boolean") return String(value);
  const x = value + 0;
  if (!Number.isFinite(x)) return Number.isNaN(x) ? "nan" : x > 0 ? "inf" : "-inf";
  const [digits = "", power = ""] = x.toExponential(5).split("e");
  if (x !== 0 && (Number(power) < -4 || Number(power) >= 6)) {
    return exponent(`${digits.replace(/\.?0+$/, "")}e${power}`);
  }
  return String(Number(x.toPrecision(6)));
}

/** A number in full, as Python writes it. */
export function whole(value: number | boolean, dtype = "float64"): string {
  if (typeof value === "boolean" || dtype === "bool") return value ? "True" : "False";
  if (!isFloat(dtype)) return String(value);
  if (!Number.isFinite(value)) return short(value);
  if (Object.is(value, -0)) return "-0.0";
  const size = Math.abs(value);
  if (size >= 1e16 || (size > 0 && size < 1e-4)) {
    return exponent(value.toExponential());
  }
  const text = String(value);
  return text.includes(".") ? text : `${text}.0`;
}

/** The range of a tensor, and its rows, at most so many numbers. */
export function everything(value: Value, { shape, dtype }: Slot, most = 1000): string {
  if (!isTensor(value)) return whole(value, dtype);
  if (!value.length) return `${dtype} ${shapeText(shape)}, empty`;
  const columns = shape[shape.length - 1] ?? 1;
  const width = Math.min(columns, most);
  const rows = [];
  for (let i = 0; i < value.length && rows.length * width < most; i += columns) {
    const cells = Array.from(value.subarray(i, i + width), (x) => whole(x, dtype));
    rows.push(`[${cells.join(", ")}${width < columns ? ", …" : ""}]`);
  }
  const left = value.length / columns - rows.length;
  const [low, high] = range(value);
  return `${dtype} ${shapeText(shape)}, ${short(low)} to ${short(high)}, norm ${short(norm(value))}\n`
    + rows.join("\n") + (left ? `\n… ${left} more rows` : "");
}

/** How many numbers, their range and their norm. */
export function together(numbers: Numbers): string {
  const [low, high] = range(numbers);
  const count = numbers.length.toLocaleString("en");
  return `${count} numbers, ${short(low)} to ${short(high)}, norm ${whole(norm(numbers))}`;
}

/** The value of a slot in a line of code. */
export function inLine(value: Value, { shape }: Slot): string {
  if (!isTensor(value)) return short(value);
  if (!value.length) return `${shapeText(shape)} empty`;
  if (value.length <= 12) return nested(value, shape);
  const [low, high] = range(value);
  return `${shapeText(shape)} ${low === high ? `all ${short(low)}` : `${short(low)} to ${short(high)}`}`;
}

function nested(value: Numbers, [length = 0, ...rest]: number[]): string {
  const size = value.length / length;
  return `[${Array.from({ length }, (_, i) => rest.length ? nested(value.subarray(i * size, (i + 1) * size), rest)
    : short(value[i] ?? NaN)).join(", ")}]`;
}

/** The least and the largest number; NaN if one is. */
export function range(numbers: ArrayLike<number>): [number, number] {
  let low = Infinity, high = -Infinity;
  for (let i = 0; i < numbers.length; i++) {
    const x = numbers[i] ?? NaN;
    if (Number.isNaN(x)) return [NaN, NaN];
    if (x < low) low = x;
    if (x > high) high = x;
  }
  return [low, high];
}

/** A number or truth value as JSON of a document has it: nothing is lost. */
export function asJson(value: Value, { shape, dtype }: Slot): string {
  if (typeof value === "boolean") return String(value);
  if (typeof value === "number") return oneAsJson(value, dtype);
  const [length = 0, ...rest] = shape;
  if (!value.length) return "[]";
  const size = value.length / length;
  return `[${Array.from({ length }, (_, i) => rest.length
    ? asJson(value.subarray(i * size, (i + 1) * size), { shape: rest, dtype, member: "" })
    : oneAsJson(value[i] ?? NaN, dtype)).join(", ")}]`;
}

function oneAsJson(x: number, dtype: string): string {
  if (dtype === "bool") return x ? "true" : "false";
  if (!Number.isFinite(x)) return Number.isNaN(x) ? '"NaN"' : x > 0 ? '"Infinity"' : '"-Infinity"';
  if (Object.is(x, -0)) return "-0.0";
  // Digits without an exponent are an exact integer, and those of a larger number are not.
  return Number.isInteger(x) && !Number.isSafeInteger(x) ? x.toExponential() : String(x);
}

/** A finite number of a dtype that a person typed, or null. As in a document, a float32 is refused that would be 0. */
export function parse(text: string, dtype: string): number | null {
  if (!/^\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i.test(text)) return null;
  const typed = Number(text), x = nearest(typed, dtype);
  return holds(x, dtype) && (x !== 0 || typed === 0) ? x : null;
}

/** The strip of a tensor: the largest element of each piece, scaled to [-1, 1]. */
export function strip(numbers: Numbers, count: number): number[] {
  const size = Math.floor(numbers.length / count), extra = numbers.length % count;
  const peaks: number[] = [];
  for (let i = 0, at = 0; i < count; i++) {
    let peak = 0;
    for (const end = at + size + (i < extra ? 1 : 0); at < end; at++) {
      const x = numbers[at] ?? 0;
      if (Math.abs(x) > Math.abs(peak)) peak = x; // NaN is not larger
    }
    peaks.push(Math.max(-Number.MAX_VALUE, Math.min(Number.MAX_VALUE, peak)));
  }
  const largest = Math.max(...peaks.map(Math.abs));
  return peaks.map((x) => largest ? x / largest : 0);
}

/** The text of a mark on a wire. */
export function mark(value: Value, { shape, dtype }: Slot, isGradient: boolean): string {
  if (!isTensor(value)) return brief(value, dtype);
  if (value.length <= 3 && shape.length === 1) return `[${Array.from(value, (x) => brief(x, dtype)).join(", ")}]`;
  return isGradient ? `‖·‖ ${brief(norm(value))}` : shapeText(shape);
}
