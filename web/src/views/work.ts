/** Long computations a little every frame, so that the page stays quick. */

/** Milliseconds of a frame. */
const SLICE = 7;

export class Work {
  #frame = 0;
  #rest: (() => boolean) | null = null;

  stop(): void {
    cancelAnimationFrame(this.#frame);
  }

  /** Call `step` until it returns false; what went before is given up. `onpause` is called after every frame. */
  start(step: () => boolean, onpause: () => void): void {
    this.#rest = step;
    this.stop();
    const run = () => {
      const end = performance.now() + SLICE;
      let more = true;
      while (more && performance.now() < end) more = this.#rest?.() ?? false;
      onpause();
      if (more) this.#frame = requestAnimationFrame(run);
    };
    this.#frame = requestAnimationFrame(run);
  }
}
