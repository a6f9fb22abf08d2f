/** Formulas as MathML, with names or with numbers. */

import type { Circuit } from "../model/circuit";
import type { Tree } from "../model/data";
import { isTensor, short } from "../model/numbers";
import { math } from "./dom";

const ELEMENTS = new Set(["mrow", "mi", "mn", "mo", "mtext", "mspace", "mfrac", "msqrt", "mroot", "msub", "msup",
  "msubsup", "munder", "mover", "munderover", "mtable", "mtr", "mtd"]);
const ATTRIBUTES = new Set(["form", "fence", "stretchy", "lspace", "rspace", "movablelimits", "accent", "mathvariant",
  "width", "columnalign", "displaystyle"]);

export class Formulas {
  constructor(private readonly places: [number, Tree][], private readonly circuit: Circuit) {}

  /** A formula; `numbers` puts numbers in the place of scalars. */
  draw(tree: Tree, numbers: boolean, alone = true): Element {
    if (typeof tree === "number") return this.#place(tree, numbers, alone);
    const [name, ...rest] = tree;
    const made = math(ELEMENTS.has(name) ? name : "mrow");
    for (const part of rest) {
      if (typeof part === "string") made.append(part);
      else if (typeof part === "object" && !Array.isArray(part)) {
        for (const [key, value] of Object.entries(part)) if (ATTRIBUTES.has(key)) made.setAttribute(key, value);
      } else {
        made.append(this.draw(part, numbers, name === "mfrac" || name === "msqrt"));
      }
    }
    return made;
  }

  /** The number in a slot; a tensor has none. */
  number(slot: number): Element | null {
    const value = this.circuit.at(slot);
    return isTensor(value) || this.circuit.fault ? null : numeral(short(value));
  }

  #place(i: number, numbers: boolean, alone: boolean): Element {
    const [slot, name] = this.places[i] ?? [0, ["mi", "?"] as Tree];
    const number = numbers ? this.number(slot) : null;
    if (!number) return this.draw(name, false);
    return alone ? number : enclosed(number);
  }
}

/** A number that stands beside others: a negative one in parentheses. */
function enclosed(number: Element): Element {
  return number.textContent.startsWith("−") ? row(operator("("), number, operator(")")) : number;
}

export function total(numbers: Element[]): Element {
  return row(...numbers.flatMap((number, i) => i ? [operator("+"), enclosed(number)] : [number]));
}

export function equal(): Element {
  return operator("=");
}

export function row(...parts: Element[]): Element {
  const made = math("mrow");
  made.append(...parts);
  return made;
}

function operator(text: string): Element {
  const made = math("mo");
  made.append(text);
  return made;
}

/** A number of six digits as a formula: 1.5e-07 is 1.5 · 10 to the power of -7. */
function numeral(text: string): Element {
  const { sign = "", digits = "", power } = /^(?<sign>-?)(?<digits>[^e]+)(?:e(?<power>.+))?$/.exec(text)?.groups ?? {};
  const parts = [];
  if (sign) parts.push(operator("−"));
  const number = math("mn");
  number.append(digits === "inf" ? "∞" : digits === "nan" ? "NaN" : digits);
  parts.push(number);
  if (power !== undefined) {
    const ten = math("mn"), raised = math("msup"), exponent = math("mn");
    ten.append("10");
    exponent.append(String(Number(power)).replace("-", "−"));
    raised.append(ten, exponent);
    parts.push(operator("·"), raised);
  }
  return row(...parts);
}
