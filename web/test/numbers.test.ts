import { expect, test } from "vitest";
import { asJson, brief, everything, exact, fromBytes, inLine, mark, parse, short, strip, toBytes, whole }
  from "../src/model/numbers";

const slot = (shape: number[], dtype = "float64") => ({ member: "", shape, dtype });

// What Python writes: circuitflow.pictures.marks.brief, circuitflow.text.number, repr.
test.each([[3, "3.00"], [0.125, "0.12"], [0.375, "0.38"], [-2.5, "-2.50"], [0.0179862, "0.018"], [1e-4, "1.0e-04"],
  [123456, "1.2e+05"], [-0, "0.00"], [NaN, "NaN"], [-Infinity, "-∞"], [0.0995, "0.10"]])("brief %d", (x, text) => {
  expect(brief(x)).toBe(text);
});

test.each([[3, "3"], [0.5121436, "0.512144"], [1e-5, "1e-05"], [1234567, "1.23457e+06"], [-0.1, "-0.1"], [0, "0"],
  [NaN, "nan"], [Infinity, "inf"], [100000, "100000"], [123456.7, "123457"]])("short %d", (x, text) => {
  expect(short(x)).toBe(text);
});

test.each([[3, "3.0"], [1e16, "1e+16"], [1e-5, "1e-05"], [0.1, "0.1"], [-0, "-0.0"], [1.5e300, "1.5e+300"]])(
  "whole %d", (x, text) => { expect(whole(x)).toBe(text); });

test("integers and truth values", () => {
  expect([brief(3, "int64"), brief(true), whole(3, "int64"), whole(true)]).toEqual(["3", "true", "3", "True"]);
});

test("tensors", () => {
  const numbers = new Float64Array([1, -2, 3, 4]);
  expect(inLine(numbers, slot([2, 2]))).toBe("[[1, -2], [3, 4]]");
  expect(mark(numbers, slot([2, 2]), false)).toBe("(2, 2)");
  expect(mark(numbers, slot([2, 2]), true)).toBe("‖·‖ 5.48");
  expect(mark(numbers.subarray(0, 2), slot([2]), true)).toBe("[1.00, -2.00]");
  expect(everything(numbers, slot([2, 2]))).toBe("float64 (2, 2), -2 to 4, norm 5.47723\n[1.0, -2.0]\n[3.0, 4.0]");
  expect(strip(numbers, 2)).toEqual([-0.5, 1]);
  expect(asJson(numbers, slot([2, 2]))).toBe("[[1, -2], [3, 4]]");
});

test("a number as JSON comes back bit by bit", () => {
  for (const x of [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -(2 ** 60)]) {
    expect(JSON.parse(asJson(x, slot([])))).toBe(x);
  }
  expect(asJson(NaN, slot([]))).toBe('"NaN"');
  expect(asJson(1, slot([], "bool"))).toBe("true");
});

test("a large number as JSON is no integer, which Python would take exactly", () => {
  expect([2 ** 53 - 1, 2 ** 60 + 1e19, -(2 ** 60)].map((x) => asJson(x, slot([])))).toEqual(
    ["9007199254740991", "1.1152921504606847e+19", "-1.152921504606847e+18"]);
});

test("numbers of float32", () => {
  const typed = (text: string) => parse(text, "float32");
  expect(["0.1", "16777217", "1e39", "1e-46", "-0", "0e-99"].map(typed)).toEqual(
    [Math.fround(0.1), 16777216, null, null, -0, 0]);
  for (const x of [0.1, 1 / 3, 1e-45, 3.4028234663852886e38, 16777216, -0, Infinity, NaN].map(Math.fround)) {
    expect(Math.fround(Number(exact(x, "float32")))).toBe(x);
  }
  expect([exact(Math.fround(0.1), "float32"), exact(0.1)]).toEqual(["0.1", "0.1"]);
});

test.each(["", "x", "0x10", "1e999", "Infinity", "1,5", "--1", "1e", "{}"])("%j is no number", (text) => {
  expect(parse(text, "float64")).toBeNull();
});

test("numbers that a person types", () => {
  expect([" 1.5 ", "-.5", "1e-3", "+2."].map((text) => parse(text, "float64"))).toEqual([1.5, -0.5, 0.001, 2]);
  expect([parse("1.5", "int64"), parse("2", "int64"), parse("-0", "int64")]).toEqual([null, 2, 0]);
  expect([["127", "int8"], ["128", "int8"], ["-129", "int8"], ["-1", "uint8"], ["255", "uint8"], ["2", "bool"],
    ["9007199254740992", "int64"], ["4294967295", "uint32"]].map(([text = "", dtype = ""]) => parse(text, dtype)))
    .toEqual([127, null, null, null, 255, null, null, 4294967295]);
});

test("bytes there and back", () => {
  const numbers = new Float64Array([0.1, -3, 1e300]);
  expect(fromBytes(toBytes(numbers), "float64")).toEqual(numbers);
});
