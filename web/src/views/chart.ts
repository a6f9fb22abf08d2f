/** A line with its axes, small enough to need no library. */

import { brief, range, share } from "../model/numbers";
import { shape } from "./dom";

export interface Chart {
  xs: number[];
  ys: number[];
  /** The class of the line. */
  look: string;
  title: string;
  here?: [number, number];
  /** The slope of the tangent at that place. */
  tangent?: number;
}

const WIDTH = 340, HEIGHT = 120, LEFT = 54, RIGHT = 8, TOP = 16, BOTTOM = 18;

/** A number at the end of an axis. */
export function axis(x: number): string {
  return Number.isInteger(x) && Math.abs(x) < 1e5 ? String(x) : brief(x);
}

/** Draw a line; where nothing is finite, only its frame. */
export function draw(svg: SVGElement, { xs, ys, look, title, here, tangent }: Chart): void {
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  const isFinite = xs.map((x, i) => Number.isFinite(x) && Number.isFinite(ys[i]));
  const [left, right] = range(xs.filter((_, i) => isFinite[i]));
  let [low, high] = range(ys.filter((_, i) => isFinite[i]));
  if (low === high) [low, high] = [low - Math.abs(low || 1), high + Math.abs(high || 1)];
  const across = (x: number) => LEFT + (WIDTH - LEFT - RIGHT) * (right > left ? share(x, left, right) : 0.5);
  const up = (y: number) => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share(y, low, high);
  const parts: SVGElement[] = [
    shape("rect", { class: "frame", x: LEFT, y: TOP, width: WIDTH - LEFT - RIGHT, height: HEIGHT - TOP - BOTTOM }),
    shape("text", { x: LEFT, y: 11 }, title)];
  if (low <= high) {
    let path = "", isDown = false;
    xs.forEach((x, i) => {
      if (isFinite[i]) path += `${isDown ? "L" : "M"}${across(x).toFixed(2)} ${up(ys[i] ?? 0).toFixed(2)}`;
      isDown = isFinite[i] ?? false;
    });
    parts.push(
      shape("text", { x: LEFT - 4, y: HEIGHT - BOTTOM, "text-anchor": "end" }, axis(low)),
      shape("text", { x: LEFT - 4, y: TOP + 8, "text-anchor": "end" }, axis(high)),
      shape("text", { x: LEFT, y: HEIGHT - 4 }, axis(left)),
      shape("text", { x: WIDTH - RIGHT, y: HEIGHT - 4, "text-anchor": "end" }, axis(right)),
      shape("path", { class: `curve ${look}`, d: path }));
    if (here?.every(Number.isFinite)) {
      const [x, y] = here;
      if (tangent !== undefined && Number.isFinite(tangent)) parts.push(line(x, y, tangent));
      parts.push(shape("circle", { class: "here", cx: across(x), cy: up(y), r: 4 }));
    }
  }
  svg.replaceChildren(...parts);

  function line(x: number, y: number, slope: number): SVGElement {
    const ends = [left, right].map((end) => {
      const rise = slope * (end - x);
      const part = rise ? Math.min(1, ((rise > 0 ? high : low) - y) / rise) : 1;
      return [x + (end - x) * part, y + rise * part] as const;
    });
    const [[x1, y1], [x2, y2]] = ends as [readonly [number, number], readonly [number, number]];
    return shape("line", { class: "tangent", x1: across(x1), y1: up(y1), x2: across(x2), y2: up(y2) });
  }
}
