/** What the bundle offers: a page of its own, and a view in an element of a notebook. */

import type { Data, Module } from "./model/data";
import { mount } from "./view";
import { Page } from "./views/dom";
export { widget } from "./widget";

/** The page that this script stands in; `module` is the code of its circuit, null where it has none. */
export function page(module: Module | null): void {
  const here = new Page(document);
  const data = JSON.parse(here.byId("data").textContent) as Data;
  mount(here, data, module, {
    fragment: location.hash,
    save: (text) => { history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search); },
    link: (text) => `${location.href.split("#")[0] ?? ""}${text ? `#${text}` : ""}`,
  });
}
