import { beforeAll, expect, test, vi } from "vitest";
import { decode, read, write } from "../src/model/address";
import { Circuit } from "../src/model/circuit";
import type { Model, Module } from "../src/model/data";
import { Descent } from "../src/model/descent";
import { along, niceAbove, over, placeText, rangeOf } from "../src/model/sampling";
import { asJson, share, toBytes } from "../src/model/numbers";

beforeAll(() => { vi.stubGlobal("requestAnimationFrame", (act: () => void) => { act(); return 0; }); });

/** f = a · a · b, where a is a parameter and b an input of two elements, summed. */
const module: Module = {
  value(inputs) {
    const a = inputs.a as number, b = inputs.b as Float64Array, df = inputs.df as number;
    const q = inputs.q_is_set ? Number(inputs.q_set) : a * a;
    const sum = (b[0] ?? 0) + (b[1] ?? 0);
    if (a > 100) throw new RangeError("too large");
    const dq = df * sum, da = inputs.q_is_set ? 0 : dq * 2 * a;
    return { outputs: { a, b, q, f: q * sum, dq, da, df, db: new Float64Array([df * q, df * q]) } };
  },
};

const names = ["a", "b", "q", "f", "dq", "da", "df", "db"];
const slot = (name: string) => names.indexOf(name);

function circuit(): Circuit {
  const model: Model = {
    slots: names.map((member) => ({ member, shape: member.endsWith("b") ? [2] : [], dtype: "float64" })),
    sources: [
      { name: "a", kind: "parameter", label: "", member: "a", value: 3, slot: slot("a"), gradient: slot("da"),
        frozen: false, min: null, max: 10 },
      { name: "b", kind: "input", label: "", member: "b", value: btoa(String.fromCharCode(
        ...new Uint8Array(new Float64Array([1, 2]).buffer))), slot: slot("b"), gradient: slot("db"), frozen: false,
      min: null, max: null }],
    settings: [["q", "q_is_set", "q_set", slot("q")]],
    keeps: "keeps",
    upstream: [{ name: "f", member: "df", slot: slot("df"), output: slot("f"), value: 1 }],
    document: ['{"a": ', ["a", "3.0"], ', "b": ', ["b", "[1, 2]"], "}"],
    outputs: [["f", slot("f")]],
  };
  return new Circuit(model, module);
}

test("it computes at every change, and tells its listeners", () => {
  const one = circuit(), heard = vi.fn();
  one.listen(heard);
  expect([one.at(slot("f")), one.gradient({ name: "a", index: 0 })]).toEqual([27, 18]);
  one.move({ name: "b", index: 1 }, 4);
  expect(one.at(slot("f"))).toBe(45);
  expect(heard).toHaveBeenCalledTimes(1);
  one.hold("q", 2);
  expect([one.at(slot("f")), one.at(slot("da"))]).toEqual([10, 0]);
  one.hold("q", null);
  one.arrive("f", -1);
  expect([one.objective(), one.objectiveName()]).toEqual([-45, "-1 f"]);
  one.reset();
  expect(one.at(slot("f"))).toBe(27);
});

test("zeros of gradients are kept where a gate is set or an output is left out", () => {
  const kept: unknown[] = [];
  const one = new Circuit(circuit().model, {
    value: (inputs) => {
      kept.push(inputs.keeps);
      return module.value(inputs);
    },
  });
  one.move({ name: "a", index: 0 }, 2);
  one.hold("q", 2);
  one.hold("q", null);
  one.arrive("f", 0);
  one.reset();
  expect(kept).toEqual([false, false, true, false, true, false]);
});

test("what the code refuses is a fault, until other values come", () => {
  const one = circuit();
  one.move({ name: "a", index: 0 }, 1000);
  expect(one.fault).toBe("too large");
  one.move({ name: "a", index: 0 }, 1);
  expect(one.fault).toBe("");
});

test("asking along a value changes nothing", () => {
  const one = circuit(), before = one.at(slot("f"));
  const samples = [...along(one, { name: "a", index: 0 }, [0, 4], 3)];
  expect(samples).toEqual([{ x: 0, value: 0, slope: 0 }, { x: 2, value: 12, slope: 12 },
    { x: 4, value: 48, slope: 24 }]);
  const tiles = [...over(one, [{ name: "a", index: 0 }, { name: "b", index: 1 }], [[0, 8], [0, 8]], 8)];
  expect(tiles).toHaveLength(64);
  expect(tiles[9]).toEqual({ x: 1 / 8, y: 1 / 8, size: 1 / 8, value: 1.5 ** 2 * 2.5 });
  expect([one.at(slot("f")), one.value("a"), one.value("b")]).toEqual([before, 3, new Float64Array([1, 2])]);
});

test("a descent moves what is not frozen within its bounds, and goes back", () => {
  const one = circuit(), descent = new Descent(one);
  expect(descent.moving().map(({ name }) => name)).toEqual(["a"]); // b is data
  descent.rate = 0.01;
  descent.step();
  expect(one.value("a")).toBeCloseTo(3 - 0.18, 12);
  descent.rate = -10;
  descent.step();
  expect(one.value("a")).toBe(10);
  expect(descent.moments).toHaveLength(3);
  [27, 2.82 * 2.82 * 3, 300].forEach((loss, i) => { expect(descent.moments[i]?.loss).toBeCloseTo(loss, 9); });
  descent.go(0);
  expect(one.at(slot("f"))).toBe(27);
  descent.rate = 0.01;
  descent.step();
  expect(descent.moments).toHaveLength(2);
});

test("a step begins at the values of now, also before they are drawn", () => {
  const one = circuit(), descent = new Descent(one);
  vi.stubGlobal("requestAnimationFrame", () => 0); // no frame comes
  one.move({ name: "a", index: 0 }, 1);
  one.probe([[{ name: "a", index: 0 }, 5]]); // asking does not make what is stale fresh
  descent.rate = 0.01;
  descent.step();
  vi.stubGlobal("requestAnimationFrame", (act: () => void) => { act(); return 0; });
  expect(descent.moments[0]?.loss).toBe(3);
  expect(one.value("a")).toBeCloseTo(1 - 0.06, 12);
});

test("a long history is thinned", () => {
  const one = circuit(), descent = new Descent(one);
  descent.rate = 1e-6;
  for (let i = 0; i < 5000; i++) descent.step();
  expect(descent.moments.length).toBeLessThan(4001);
  expect(descent.moments[1]?.step).toBe(2);
});

test("the address holds what differs, and gives it back", () => {
  const one = circuit();
  expect(write(one, {})).toBe("");
  one.move({ name: "a", index: 0 }, 0.1);
  one.move({ name: "b", index: 1 }, -4);
  one.hold("q", 0.5);
  one.arrive("f", 2);
  const text = write(one, { step: "3" });
  const other = circuit(), rest = read(other, `#${text ?? ""}`);
  expect([other.value("a"), other.value("b"), other.held("q"), other.arriving("f"), rest.get("step")]).toEqual(
    [0.1, new Float64Array([1, -4]), 0.5, 2, "3"]);
  expect(write(other, { step: "3" })).toBe(text);
});

test.each(["#v.a=NaN", "#v.a=x&v.b=5:1", "#v.b=0:1,b", "#set.q=", "#set.nothing=1&up.g=2", "#__proto__.a=1", "#v.b=b",
  `#v.a=${"1".repeat(200_000)}`, "#v.constructor=1&set.__proto__=2"])("the fragment %s does nothing", (fragment) => {
  const one = circuit();
  read(one, fragment);
  expect([one.at(slot("f")), one.isHeld("q"), one.isMoved("a"), one.isMoved("b")]).toEqual([27, false, false, false]);
});

test("the document has the new values, and the old texts of the others", () => {
  const one = circuit();
  expect(one.json()).toEqual({ text: '{"a": 3.0, "b": [1, 2]}', left: [] });
  one.move({ name: "b", index: 0 }, 0.1);
  expect(one.json().text).toBe('{"a": 3.0, "b": [0.1, 2]}');
  expect(asJson(true, one.slot(0))).toBe("true");
});

test("the address keeps the sign of zero", () => {
  const one = circuit(), other = circuit();
  one.move({ name: "a", index: 0 }, -0);
  one.move({ name: "b", index: 0 }, -0);
  read(other, `#${write(one, {}) ?? ""}`);
  expect([other.value("a"), other.value("b")]).toEqual([-0, new Float64Array([-0, 2])]);
});

test("the bytes of a link hold numbers of the dtype, or those that were not finite at first", () => {
  const all = { member: "", shape: [3], dtype: "float64" }, start = new Float64Array([1, Infinity, NaN]);
  const bytes = (numbers: Float64Array) => `b${toBytes(numbers)}`;
  const moved = new Float64Array([2, Infinity, NaN]), whole = new Float64Array([2, 3, -4]);
  expect(decode(bytes(moved), all, start)).toEqual(moved);
  expect(decode(bytes(new Float64Array([Infinity, Infinity, NaN])), all, start)).toBeNull();
  expect(decode(bytes(whole), { ...all, dtype: "int64" }, whole)).toEqual(whole);
  expect(decode(bytes(new Float64Array([2, 3, 0.5])), { ...all, dtype: "int64" }, whole)).toBeNull();
});

test("a range beyond all numbers is sampled and drawn in parts that are numbers", () => {
  const one = circuit(), place = { name: "b", index: 0 };
  one.move(place, 1e308);
  const [low, high] = rangeOf(one, place);
  expect([...along(one, place, [low, high], 3)].map(({ x }) => x)).toEqual([-1e308, 0, 1e308]);
  expect([-1e308, 0, 1e308].map((x) => share(x, low, high))).toEqual([0, 0.5, 1]);
  expect(share(5e-324, 0, 5e-324)).toBe(1);
});

test("ranges of sliders", () => {
  expect([3, 0.064, 212, 5, 1e-9].map((x) => niceAbove(2 * x))).toEqual([10, 0.2, 500, 10, expect.closeTo(2e-9, 20)]);
  const one = circuit();
  expect(rangeOf(one, { name: "a", index: 0 })).toEqual([-10, 10]);
  expect(rangeOf(one, { name: "b", index: 1 })).toEqual([-5, 5]);
  expect(placeText(one, { name: "b", index: 1 })).toBe("b[1]");
  expect(placeText(one, { name: "a", index: 0 })).toBe("a");
});
