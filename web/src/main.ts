/** The page: the picture, the walk and, where the circuit can be computed, everything that moves. */

import { read, write } from "./model/address";
import { Circuit } from "./model/circuit";
import type { Data, Module } from "./model/data";
import { Curve } from "./views/curve";
import { Descending } from "./views/descending";
import { byId, element, say, settled } from "./views/dom";
import { Formulas } from "./views/formulas";
import { Inputs } from "./views/inputs";
import { Outputs } from "./views/outputs";
import { Detail, Marks, Window } from "./views/picture";
import { Settings } from "./views/setting";
import { Walk } from "./views/walk";

declare const circuitflowModule: Module | undefined;

const data = JSON.parse(byId("data").textContent) as Data;
const view = new Window();
const circuit = data.model && typeof circuitflowModule !== "undefined"
  ? new Circuit(data.model, circuitflowModule) : null;
const formulas = circuit ? new Formulas(data.places ?? [], circuit) : null;
const detail = new Detail(data.parts, circuit, view);
const walk = data.steps.length ? new Walk(data.steps, circuit, formulas, view) : null;
if (!walk) {
  byId("walk").remove();
  byId("told").remove();
}

if (circuit) live(circuit);
theme();

/** Everything that moves. */
function live(circuit: Circuit): void {
  for (const id of ["reset", "link", "json", "inputs", "results", "curve", "descent"]) byId(id).hidden = false;
  const rest = read(circuit, location.hash);
  const marks = new Marks(circuit, data.wires ?? {});
  const inputs = new Inputs(circuit), outputs = new Outputs(circuit);
  const settings = new Settings(circuit, data.nodes ?? {});
  const curve = new Curve(circuit), descending = new Descending(circuit);
  for (const id of ["curve", "descent"]) if (!circuit.movable().length) byId(id).hidden = true;
  const views = [marks, inputs, outputs, settings, curve, descending];
  detail.onchoose = (key) => { settings.choose(key); };
  circuit.listen(() => {
    for (const view of views) view.update();
    walk?.update();
    detail.update();
    say(circuit.fault ? `These values cannot be computed: ${circuit.fault}` : "");
  });

  // The address follows; a link reproduces what is seen.
  const address = () => {
    const now = walk && walk.now < data.steps.length ? { step: String(walk.now) } : {};
    const frozen = circuit.model.sources.filter(({ name }) => circuit.frozen.has(name) !== start.has(name));
    return write(circuit, { ...now, ...(frozen.length ? { freeze: frozen.map(({ name }) => name).join(" ") } : {}) });
  };
  const start = new Set(circuit.frozen);
  for (const name of (rest.get("freeze") ?? "").split(" ")) {
    if (!circuit.sources.has(name)) continue;
    if (!circuit.frozen.delete(name)) circuit.frozen.add(name);
  }
  const step = rest.get("step");
  if (walk && step !== null && /^\d{1,6}$/.test(step)) walk.walk(Number(step));
  const save = settled(300, () => {
    const text = address();
    if (text !== null) history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  });
  circuit.listen(save);
  if (walk) walk.onstep = save;

  byId("reset").onclick = () => {
    descending.pause();
    descending.descent.forget();
    circuit.frozen.clear();
    for (const name of start) circuit.frozen.add(name);
    circuit.reset();
    circuit.flush();
    inputs.fit();
    inputs.update();
  };
  byId("link").onclick = () => {
    const text = address();
    if (text === null) say("These values are too many for a link; Copy as JSON keeps them.");
    else copy(`${location.href.split("#")[0] ?? ""}${text ? `#${text}` : ""}`, "a link to these values");
  };
  byId("json").onclick = () => {
    const { text, left } = circuit.json();
    copy(text, left.length ? `the document, without ${left.join(", ")}, which a subcircuit has`
      : "the document with these values");
  };
  circuit.flush();
}

/** Put text on the clipboard, and say so; where a page may not, show it to be copied by hand. */
function copy(text: string, what: string): void {
  const fallback = () => {
    say(`The browser does not let this page copy. Here is ${what}:`);
    const area = element("textarea", text, { readonly: "", rows: "8", "aria-label": what });
    byId("message").append(area);
    area.select();
  };
  if (!("clipboard" in navigator)) {
    fallback();
    return;
  }
  navigator.clipboard.writeText(text).then(() => { say(`Copied ${what}.`); }, fallback);
}

/** Dark or light: the system's choice, until a reader makes another. */
function theme(): void {
  const root = document.documentElement, button = byId("dark");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => root.dataset.theme === "dark" || (root.dataset.theme === "auto" && system.matches);
  const show = () => {
    button.setAttribute("aria-pressed", String(isDark()));
    circuit?.flush();
  };
  button.onclick = () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    show();
  };
  system.addEventListener("change", show);
  show();
}

document.addEventListener("keydown", (event) => {
  const target = event.target as Element;
  if (event.ctrlKey || event.metaKey || event.altKey || target.matches("input, select, textarea")) return;
  const keys: Record<string, () => void> = {
    "+": () => { view.zoom(1 / 1.3); }, "=": () => { view.zoom(1 / 1.3); }, "-": () => { view.zoom(1.3); },
    "0": () => { view.whole(); },
  };
  if (walk) {
    keys.ArrowRight = () => { walk.walk(walk.now + 1); };
    keys.ArrowLeft = () => { walk.walk(walk.now - 1); };
    keys.Home = () => { walk.walk(0); };
    keys.End = () => { walk.walk(data.steps.length); };
    if (!target.matches("button, summary")) keys[" "] = () => { walk.play(); };
  }
  const act = keys[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});
