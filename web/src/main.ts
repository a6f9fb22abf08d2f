/** What the bundle offers: a page of its own, and a view in an element of a notebook. */

import type { Data, Module } from "./model/data";
import { mount } from "./view";
import { Page } from "./views/dom";
export { widget } from "./widget";

/** The page that this script stands in; `module` is the code of its circuit, null where it has none. */
export function page(module: Module | null): void {
  const here = new Page(document);
  const data = JSON.parse(here.byId("data").textContent) as Data;
  const link = (text: string) => `${location.href.split("#")[0] ?? ""}${text ? `#${text}` : ""}`;
  mount(here, data, module, {
    fragment: location.hash,
    save: (text) => {
      try {
        history.replaceState(null, "", link(text));
      } catch { /* a page in the frame of another, such as a viewer of files, may have an address that stays */ }
    },
    link,
  });
}
