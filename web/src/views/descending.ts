/** Gradient descent: play it, go back in time, and see its path on a slice of the loss. */

import type { Circuit, Place } from "../model/circuit";
import { Descent } from "../model/descent";
import { brief, isTensor, parse, range, share } from "../model/numbers";
import { choices, over, placeText, rangeOf, type Tile } from "../model/sampling";
import { axis, draw } from "./chart";
import { Choice } from "./choice";
import { settled, type Page } from "./dom";
import { Work } from "./work";

/** Tiles of the finest slice, along each axis. */
const FINEST = 64;

export class Descending {
  readonly descent: Descent;
  readonly #panel: HTMLDetailsElement;
  readonly #across: Choice;
  readonly #up: Choice;
  readonly #work = new Work();
  readonly #canvas: HTMLCanvasElement;
  #tiles: Tile[] = [];
  #ranges: [[number, number], [number, number]] = [[0, 1], [0, 1]];
  #playing = 0;
  readonly #slice = settled(120, () => { this.#sample(); });

  constructor(private readonly page: Page, private readonly circuit: Circuit) {
    this.#panel = page.byId<HTMLDetailsElement>("descent");
    this.#canvas = page.byId<HTMLCanvasElement>("slice");
    this.descent = new Descent(circuit);
    const [x, y] = this.#first();
    this.#across = new Choice(page, circuit, "slice-x", x, this.#slice);
    this.#up = new Choice(page, circuit, "slice-y", y, this.#slice);
    this.page.byId("descent-step").onclick = () => {
      this.pause();
      this.descent.step();
    };
    this.page.byId("descent-play").onclick = () => {
      if (this.#playing) this.pause();
      else this.#play();
    };
    this.page.byId("descent-clear").onclick = () => {
      this.pause();
      this.descent.forget();
      circuit.changed();
    };
    for (const key of ["rate", "momentum"] as const) {
      const field = this.page.byId<HTMLInputElement>(key);
      field.oninput = () => {
        const x = parse(field.value, "float64");
        if (x !== null && field.validity.valid) this.descent[key] = x;
      };
    }
    const time = this.page.byId<HTMLInputElement>("time");
    time.oninput = () => {
      this.pause();
      this.descent.go(Number(time.value));
    };
    this.#panel.addEventListener("toggle", () => {
      if (!this.#panel.open) this.pause();
      this.update();
    });
  }

  pause(): void {
    cancelAnimationFrame(this.#playing);
    this.#playing = 0;
    this.page.byId("descent-play").textContent = "Play";
    this.page.byId("descent-play").setAttribute("aria-label", "Play the descent");
    this.#slice();
  }

  update(): void {
    if (!this.#panel.open) return;
    const { descent, circuit } = this, moving = descent.moving().map(({ name }) => name);
    const names = moving.length > 6 ? [...moving.slice(0, 5), "…"] : moving;
    const name = circuit.objectiveName(), loss = `${name} = ${brief(circuit.objective())}`;
    this.page.byId("descent-words").textContent = !moving.length
      ? "Nothing moves: every value is frozen or has no gradient."
      : name === "0" ? "Nothing becomes smaller: every upstream gradient is 0."
      : this.#isLost() ? `The descent stops: ${loss}. Go back in time, and take a smaller rate.`
      : `Makes ${loss} smaller by moving ${names.join(", ")}.`;
    if (this.#playing && !moving.length) this.pause();
    for (const id of ["descent-step", "descent-play"]) this.page.byId<HTMLButtonElement>(id).disabled = !moving.length;
    const time = this.page.byId<HTMLInputElement>("time"), { moments, now } = descent;
    time.max = String(Math.max(moments.length - 1, 0));
    time.value = String(now);
    this.page.byId("time-count").textContent = `step ${moments[now]?.step ?? 0}`;
    const here = moments[now];
    draw(this.page.byId<SVGElement>("loss"), { xs: moments.map(({ step }) => step), look: "",
      ys: moments.map(({ loss }) => loss), title: "loss of every step",
      ...(here ? { here: [here.step, here.loss] as [number, number] } : {}) });
    this.#paint();
    if (!this.#playing) this.#slice();
  }

  #play(): void {
    this.page.byId("descent-play").textContent = "Pause";
    this.page.byId("descent-play").setAttribute("aria-label", "Pause the descent");
    const run = () => {
      this.descent.step();
      if (this.#isLost()) {
        this.pause();
        return;
      }
      this.#playing = requestAnimationFrame(run);
    };
    this.#playing = requestAnimationFrame(run);
  }

  /** Whether a further step has no number to begin with. */
  #isLost(): boolean {
    return this.circuit.fault !== "" || !Number.isFinite(this.circuit.objective());
  }

  /** The first two numbers that move. */
  #first(): [Place, Place] {
    const moving = this.descent.moving();
    const places = moving.length ? moving.map(({ name }) => ({ name, index: 0 })) : choices(this.circuit);
    const first = places[0] ?? { name: "", index: 0 };
    const value = this.circuit.value(first.name);
    return [first, places[1] ?? { name: first.name, index: isTensor(value) && value.length > 1 ? 1 : 0 }];
  }

  #sample(): void {
    this.#work.stop();
    if (!this.#panel.open || !this.#across.place.name || this.#playing) return;
    const places: [Place, Place] = [this.#across.place, this.#up.place];
    this.#ranges = places.map((place) => this.#range(place)) as [[number, number], [number, number]];
    const tiles = over(this.circuit, places, this.#ranges, FINEST);
    const found: Tile[] = [];
    this.#work.start(() => {
      const { value } = tiles.next();
      if (value) found.push(value);
      return value !== undefined;
    }, () => {
      this.#tiles = found;
      this.#paint();
    });
  }

  /** The range of a slider, with room for the whole path. */
  #range(place: Place): [number, number] {
    const [low, high] = rangeOf(this.circuit, place);
    const [least, most] = range(this.#path(place));
    return [Math.min(low, least), Math.max(high, most)];
  }

  #path({ name, index }: Place): number[] {
    const numbers = this.descent.moments.map(({ values }) => {
      const value = values.get(name) ?? NaN;
      return Number(isTensor(value) ? value[index] ?? NaN : value);
    });
    return [...numbers, this.circuit.number({ name, index })].filter(Number.isFinite);
  }

  #paint(): void {
    const context = this.#canvas.getContext("2d"), { width, height } = this.#canvas;
    if (!context) return;
    context.clearRect(0, 0, width, height);
    const [low, high] = range(this.#tiles.map(({ value }) => value).filter(Number.isFinite));
    const dark = this.page.colour("changed"), ground = this.page.colour("zero");
    for (const { x, y, size, value } of this.#tiles) {
      if (!Number.isFinite(value)) continue;
      // Small losses are where the eye looks: the root spreads them.
      const part = high > low ? Math.sqrt(share(value, low, high)) : 0;
      const band = Math.round(part * 16) / 16;
      context.fillStyle = `rgb(${ground.map((a, i) => Math.round(a + ((dark[i] ?? 0) - a) * band)).join(" ")})`;
      context.fillRect(x * width, (1 - y - size) * height, Math.ceil(size * width), Math.ceil(size * height));
    }
    const places = [this.#across.place, this.#up.place] as const;
    const to = (x: number, axis: 0 | 1) => {
      const [least, most] = this.#ranges[axis];
      const part = least < most ? share(x, least, most) : 0;
      return axis ? (1 - part) * height : part * width;
    };
    const xs = this.#path(places[0]), ys = this.#path(places[1]);
    context.strokeStyle = `rgb(${this.page.colour("gradient").join(" ")})`;
    context.fillStyle = context.strokeStyle;
    context.lineWidth = 2;
    context.beginPath();
    xs.slice(0, -1).forEach((x, i) => { context.lineTo(to(x, 0), to(ys[i] ?? NaN, 1)); });
    context.stroke();
    context.beginPath();
    context.arc(to(xs[xs.length - 1] ?? NaN, 0), to(ys[ys.length - 1] ?? NaN, 1), 5, 0, 2 * Math.PI);
    context.fill();
    const words = places.map((place, i) => {
      const [least, most] = this.#ranges[i as 0 | 1];
      return `${i ? "up" : "across"} ${placeText(this.circuit, place)} from ${axis(least)} to ${axis(most)}`;
    });
    this.page.byId("slice-words").textContent = `${words.join(", ")}; ${low <= high
      ? `loss ${brief(low)} (grey) to ${brief(high)} (blue)` : "no loss is finite here"}`;
  }
}
