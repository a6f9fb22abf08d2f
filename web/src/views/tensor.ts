/** A tensor as a heat map with editable cells. */

import { brief, parse, same } from "../model/numbers";
import type { Numbers } from "../model/data";
import { element, type Page } from "./dom";

/** The most elements that are fields of their own. */
const FIELDS = 100;

/** The most pixels of a side of a map, which browsers bound; a longer side is folded to a square. */
const LONGEST = 10_000;

export interface Grid {
  root: HTMLElement;
  update(values: Numbers): void;
}

/** Where a key leads from an element of a tensor; the same where it leads nowhere. */
function along(key: string, at: number, columns: number, size: number): number {
  const column = at % columns;
  const steps: Record<string, number> = { ArrowUp: -columns, ArrowDown: columns, PageUp: -10 * columns,
    PageDown: 10 * columns, ArrowLeft: column > 0 ? -1 : 0, ArrowRight: column < columns - 1 ? 1 : 0, Home: -column,
    End: columns - 1 - column };
  const to = at + (steps[key] ?? 0);
  return to < 0 ? column : to >= size ? size - columns + column : to;
}

/** Fields for a small tensor, a map to choose a cell of for a large one. */
export function grid(page: Page, label: string, shape: number[], dtype: string,
  onedit: (index: number, x: number) => void, onchoose: (index: number) => void, ontype: () => void): Grid {
  const size = shape.reduce((a, b) => a * b, 1), last = shape[shape.length - 1] ?? 1;
  const columns = Math.max(last, size / last) > LONGEST ? Math.ceil(Math.sqrt(size)) : last;
  return size <= FIELDS && columns <= 12 ? fields(page, label, size, columns, dtype, onedit, onchoose)
    : map(page, label, size, columns, onchoose, ontype);
}

function fields(page: Page, label: string, size: number, columns: number, dtype: string,
  onedit: (index: number, x: number) => void, onchoose: (index: number) => void): Grid {
  const root = element("div", undefined, { class: "cells", role: "group", "aria-label": `${label}, its elements` });
  root.style.gridTemplateColumns = `repeat(${columns}, minmax(46px, 1fr))`;
  const cells: HTMLInputElement[] = Array.from({ length: size }, (_, i) => {
    const cell = element("input", undefined, { type: "text", inputmode: "decimal", autocomplete: "off",
      "aria-label": `${label}, row ${Math.floor(i / columns)}, column ${i % columns}` });
    cell.addEventListener("focus", () => { onchoose(i); });
    cell.addEventListener("change", () => {
      const x = parse(cell.value, dtype);
      cell.blur();
      if (x !== null) onedit(i, x);
      else onchoose(i); // it shows its number again
    });
    // Up and down lead from cell to cell; the other keys move within the text of one.
    cell.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
      event.preventDefault();
      cells[along(event.key, i, columns, size)]?.select();
    });
    root.append(cell);
    return cell;
  });
  return {
    root,
    update(values) {
      const shade = page.shades(), largest = most(values);
      cells.forEach((cell, i) => {
        const x = values[i] ?? NaN;
        if (page.active !== cell) cell.value = dtype === "bool" ? String(x) : brief(x, dtype);
        const background = shade(largest ? x / largest : 0);
        cell.style.backgroundColor = `rgb(${background.join(" ")})`;
        cell.style.color = luminance(background) > 0.3 ? "#111" : "#fff";
      });
    },
  };
}

/** A canvas with a cursor, which a pointer or the arrow keys move; `ontype` is called when a number begins. */
function map(page: Page, label: string, size: number, columns: number, onchoose: (index: number) => void,
  ontype: () => void): Grid {
  const rows = Math.ceil(size / columns);
  const root = element("canvas", undefined, { class: "map", role: "application", tabindex: "0", "aria-label":
    `${label}, a heat map of ${rows} rows and ${columns} columns: arrow keys choose an element, a number changes it` });
  let cursor = 0;
  const choose = (index: number) => {
    cursor = Math.min(Math.max(index, 0), size - 1);
    onchoose(cursor);
  };
  root.width = columns;
  root.height = rows;
  root.addEventListener("click", (event) => {
    const box = root.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left) / box.width * columns);
    const row = Math.floor((event.clientY - box.top) / box.height * rows);
    choose(row * columns + column);
  });
  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^[-\d.]$|^Enter$/.test(event.key)) {
      if (event.key === "Enter") event.preventDefault();
      ontype(); // the key itself goes to the field
      return;
    }
    const to = along(event.key, cursor, columns, size);
    if (to === cursor) return;
    event.preventDefault();
    choose(to);
  });
  const context = root.getContext("2d");
  const image = context?.createImageData(columns, rows);
  const pixels = image && new Uint32Array(image.data.buffer);
  let shown: Numbers | null = null, look = "";
  return {
    root,
    update(values) {
      if (!context || !image || !pixels) return;
      const shade = page.shades(), marked = page.active === root ? cursor : -1;
      const now = `${marked} ${page.colour("changed").join()} ${[-1, 0, 1].map(shade).join()}`;
      if (shown && look === now && same(values, shown)) return;
      shown = values.slice();
      look = now;
      const colours = Array.from({ length: 201 }, (_, i) => [...shade((i - 100) / 100), 255]);
      const palette = new Uint32Array(new Uint8Array([...colours, [0, 0, 0, 255]].flat()).buffer); // black is NaN
      const largest = most(values);
      for (let i = 0; i < size; i++) {
        const place = Math.round(100 + 100 * (largest ? (values[i] ?? 0) / largest : 0));
        pixels[i] = palette[place >= 0 && place <= 200 ? place : 201] ?? 0;
      }
      context.putImageData(image, 0, 0);
      if (marked < 0) return;
      context.fillStyle = `rgb(${page.colour("changed").join(" ")})`;
      context.fillRect(cursor % columns, Math.floor(cursor / columns), 1, 1);
    },
  };
}

function most(values: Numbers): number {
  let largest = 0;
  for (const x of values) if (Number.isFinite(x) && Math.abs(x) > largest) largest = Math.abs(x);
  return largest;
}

/** The relative luminance of a colour of sRGB (WCAG 2). */
function luminance(rgb: [number, number, number]): number {
  const [r, g, b] = rgb.map((x) => (x /= 255) <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4) as
    [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
