/** The nodes in a band or in a closed call, with their values and gradients. */

import type { Circuit } from "../model/circuit";
import type { Data, Member } from "../model/data";
import { mark } from "../model/numbers";
import { element, type Page } from "./dom";
import { type Entry, List } from "./list";

export class Members {
  readonly #panel: HTMLElement;
  #list: List<Row> | null = null;
  /** Called with the name that a person chooses, and the place of more on it. */
  onchoose: (name: string, place: HTMLElement) => void = () => undefined;

  constructor(private readonly page: Page, private readonly circuit: Circuit,
    private readonly members: NonNullable<Data["members"]>) {
    this.#panel = page.byId("opened");
  }

  /** Show what a vertex stands for, if that is many nodes. */
  open(key: string): void {
    const members = this.members[key];
    this.#panel.hidden = !members;
    this.#list = null;
    if (!members) return;
    const title = this.page.find(key)?.querySelector("text")?.textContent.trim() ?? "";
    const heading = this.page.byId("opened-title");
    heading.textContent = `Nodes: ${title}`;
    this.#list = new List(this.page.byId("members"), members.map(([name, about]) => [name, about]), "values",
      (i) => new Row(this.circuit, members[i] as Member, this.onchoose));
    heading.focus(); // far from the picture, for who reads the page as well as for who looks at it
  }

  update(): void {
    this.#list?.update();
  }
}

class Row implements Entry {
  readonly root = element("div", undefined, { class: "source" });
  readonly #value = element("span", "", { class: "value" });
  readonly #gradient = element("span", "", { class: "gradient" });

  constructor(private readonly circuit: Circuit, private readonly member: Member,
    choose: (name: string, place: HTMLElement) => void) {
    const [name, about] = member, head = element("div", undefined, { class: "head" });
    const button = element("button", name, { type: "button" });
    button.onclick = () => { choose(name, this.root); };
    head.append(button, element("span", about, { class: "kind" }));
    const numbers = element("div", undefined, { class: "head" });
    numbers.append(this.#value, this.#gradient);
    this.root.append(head, numbers);
  }

  update(): void {
    const { circuit } = this, [, , value, gradient] = this.member;
    const text = (slot: number, isGradient: boolean) =>
      circuit.fault ? "–" : mark(circuit.at(slot), circuit.slot(slot), isGradient);
    this.#value.textContent = text(value, false);
    this.#gradient.textContent = gradient === null ? "" : `gradient ${text(gradient, true)}`;
  }
}
