/** The view of a circuit in a page: the picture, the walk and, where it can be computed, everything that moves. */

import { read, write } from "./model/address";
import { Circuit } from "./model/circuit";
import type { Data, Module } from "./model/data";
import { Curve } from "./views/curve";
import { Descending } from "./views/descending";
import { element, type Page, settled } from "./views/dom";
import { Formulas } from "./views/formulas";
import { Inputs } from "./views/inputs";
import { Members } from "./views/members";
import { Outputs } from "./views/outputs";
import { Detail, Marks, Window } from "./views/picture";
import { Settings } from "./views/setting";
import { Walk } from "./views/walk";

/** Where the state is kept so that a link reproduces it. */
export interface Address {
  fragment: string;
  save(text: string): void;
  link(text: string): string;
}

/** Bring the elements of a page to life; returns what it computes with, if it can be computed. */
export function mount(page: Page, data: Data, module: Module | null, address: Address | null): Circuit | null {
  const view = new Window(page);
  const circuit = data.model && module ? new Circuit(data.model, module) : null;
  const formulas = circuit ? new Formulas(data.places ?? [], circuit) : null;
  const detail = new Detail(page, data.parts, circuit, view);
  const walk = data.steps.length ? new Walk(page, data.steps, circuit, formulas, view) : null;
  if (!walk) {
    page.byId("walk").remove();
    page.byId("told").remove();
  }
  if (circuit) live(page, data, circuit, view, walk, detail, address);
  theme(page, circuit);
  keys(page, view, walk);
  return circuit;
}

/** Everything that moves. */
function live(page: Page, data: Data, circuit: Circuit, view: Window, walk: Walk | null, detail: Detail,
  address: Address | null): void {
  for (const id of ["reset", "json", "inputs", "results", "curve", "descent"]) page.byId(id).hidden = false;
  const start = new Set(circuit.frozen);
  if (address) restore(circuit, walk, address.fragment);
  const marks = new Marks(page, circuit, view, data.wires ?? {});
  const inputs = new Inputs(page, circuit), outputs = new Outputs(page, circuit);
  const settings = new Settings(page, circuit, data.nodes ?? {}, data.members ?? {});
  const curve = new Curve(page, circuit), descending = new Descending(page, circuit);
  for (const id of ["curve", "descent"]) if (!circuit.movable().length) page.byId(id).hidden = true;
  const members = new Members(page, circuit, data.members ?? {});
  const views = [marks, inputs, outputs, settings, members, curve, descending];
  detail.onchoose = (key, isTyped) => {
    settings.choose(key);
    members.open(key);
    if (isTyped) settings.focus();
  };
  members.onchoose = (name, place) => {
    if (circuit.sources.has(name)) inputs.focus(name);
    else settings.offer(circuit.settings.has(name) ? name : undefined, place);
  };
  circuit.listen(() => {
    for (const part of views) part.update();
    walk?.update();
    detail.update();
    page.say(circuit.fault ? `These values cannot be computed: ${circuit.fault}` : "");
  });
  if (address) keep(page, circuit, walk, start, address);
  page.byId("reset").onclick = () => {
    descending.pause();
    descending.descent.forget();
    circuit.frozen.clear();
    for (const name of start) circuit.frozen.add(name);
    circuit.reset();
    circuit.flush();
    inputs.fit();
    inputs.update();
  };
  page.byId("json").onclick = () => {
    const { text, left } = circuit.json();
    copy(page, text, left.length ? `the document, without ${left.join(", ")}, which a subcircuit has`
      : "the document with these values");
  };
  circuit.flush();
}

/** Take over the state of a link. */
function restore(circuit: Circuit, walk: Walk | null, fragment: string): void {
  const rest = read(circuit, fragment);
  for (const name of (rest.get("freeze") ?? "").split(" ")) {
    if (!circuit.sources.has(name)) continue;
    if (!circuit.frozen.delete(name)) circuit.frozen.add(name);
  }
  const step = rest.get("step");
  if (walk && step !== null && /^\d{1,6}$/.test(step)) walk.walk(Number(step));
}

/** The address follows; a link reproduces what is seen. */
function keep(page: Page, circuit: Circuit, walk: Walk | null, start: Set<string>, address: Address): void {
  const text = () => {
    const now = walk?.isUnderway ? { step: String(walk.now) } : {};
    const frozen = circuit.model.sources.filter(({ name }) => circuit.frozen.has(name) !== start.has(name));
    return write(circuit, { ...now, ...(frozen.length ? { freeze: frozen.map(({ name }) => name).join(" ") } : {}) });
  };
  const save = settled(300, () => {
    const now = text();
    if (now !== null) address.save(now);
  });
  circuit.listen(save);
  if (walk) walk.onstep = save;
  const button = page.byId("link");
  button.hidden = false;
  button.onclick = () => {
    const now = text();
    if (now === null) page.say("These values are too many for a link; Copy as JSON keeps them.");
    else copy(page, address.link(now), "a link to these values");
  };
}

/** Put text on the clipboard, and say so; where a page may not, show it to be copied by hand. */
function copy(page: Page, text: string, what: string): void {
  const fallback = () => {
    page.say(`The browser does not let this page copy. Here is ${what}:`);
    const area = element("textarea", text, { readonly: "", rows: "8", "aria-label": what });
    page.byId("message").append(area);
    area.select();
  };
  if (!("clipboard" in navigator)) {
    fallback();
    return;
  }
  navigator.clipboard.writeText(text).then(() => { page.say(`Copied ${what}.`); }, fallback);
}

/** Dark or light: the system's choice, until a reader makes another. */
function theme(page: Page, circuit: Circuit | null): void {
  const { frame } = page, button = page.byId("dark");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => frame.dataset.theme === "dark" || (frame.dataset.theme === "auto" && system.matches);
  const show = () => {
    button.setAttribute("aria-pressed", String(isDark()));
    page.look();
    circuit?.flush();
  };
  button.onclick = () => {
    frame.dataset.theme = isDark() ? "light" : "dark";
    show();
  };
  system.addEventListener("change", show);
  show();
}

function keys(page: Page, view: Window, walk: Walk | null): void {
  page.onkey((event, target) => {
    if (event.ctrlKey || event.metaKey || event.altKey || target.matches("input, select, textarea, canvas")) return;
    const keys: Record<string, () => void> = {
      "+": () => { view.zoom(1 / 1.3); }, "=": () => { view.zoom(1 / 1.3); }, "-": () => { view.zoom(1.3); },
      "0": () => { view.whole(); },
    };
    if (walk) {
      keys.ArrowRight = () => { walk.walk(walk.now + 1); };
      keys.ArrowLeft = () => { walk.walk(walk.now - 1); };
      keys.Home = () => { walk.walk(0); };
      keys.End = () => { walk.walk(Infinity); };
      if (!target.matches("button, summary")) keys[" "] = () => { walk.play(); };
    }
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}
