/** What Python writes into a page. */

export type Numbers = Float64Array | Float32Array | Int8Array | Int16Array | Int32Array | Uint8Array | Uint16Array
  | Uint32Array;
/** A number, a truth value, or the numbers of a tensor, row by row. */
export type Value = number | boolean | Numbers;
/** A number; a non-finite one by name; the bytes of a typed array in base 64. */
export type Packed = number | boolean | string | null;

export interface Slot {
  member: string;
  shape: number[];
  dtype: string;
}

export interface Source {
  name: string;
  kind: "input" | "parameter";
  label: string;
  member: string;
  value: Packed;
  slot: number;
  gradient: number | null;
  frozen: boolean;
  min: Packed;
  max: Packed;
  /** What is wrong with the gradient at first, if anything: the verdict, and why. */
  why?: [string, string];
}

export interface Setting {
  name: string;
  flag: string;
  member: string;
  slot: number;
}

export interface Upstream {
  name: string;
  member: string;
  slot: number;
  output: number;
  value: Packed;
}

export interface Model {
  /** A slot that holds a number of float64 is its member alone. */
  slots: (Slot | string)[];
  sources: Source[];
  /** The name of each, its flag, its member and its slot: there are many. */
  settings: [string, string, string, number][];
  /** The input that says whether a gradient of 0 times an infinite slope is 0, and not NaN. */
  keeps: string;
  upstream: Upstream[];
  /** The text of the document; a pair is the id of a source with the text of its value. */
  document: (string | [string, string])[];
  outputs: [string, number][];
}

/** An element of MathML: its name, its attributes, its children; a number is a place. */
export type Tree = number | [string, ...(Record<string, string> | string | Tree)[]];

export interface Line {
  text: string;
  remark: string;
  slot: number;
  sum?: number[];
  /** The contributions that add up at a fork. */
  terms?: number[];
  left: number | null;
  formula: Tree | null;
}

export interface Step {
  phase: string;
  heading?: string;
  words?: string;
  at: string[];
  lines: (string | Line)[];
  values?: string[];
  gradients?: string[];
}

/** A value in a band or a closed call: its name, how it is computed, its slot, and that of its gradient. */
export type Member = [string, string, number, number | null];

/** The slots of a value, or of many. */
export type Slots = number | number[];

export interface Data {
  title: string;
  steps: Step[];
  parts: Record<string, [string, string | Slots][]>;
  model?: Model;
  /** The slot and the name of everything that formulas name. */
  places?: [number, Tree][];
  /** The values of each vertex. */
  nodes?: Record<string, string[]>;
  members?: Record<string, Member[]>;
  /** The slots of the value and of the gradient on each wire. */
  wires?: Record<string, [Slots | null, Slots | null]>;
}

/** The code that a circuit is exported to. */
export interface Module {
  value(inputs: Record<string, Value>): { outputs: Record<string, Value> };
}
