/** Builds elements. Text is always text: nothing from a proof becomes markup. */

type Child = Node | string | undefined;

export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Readonly<Record<string, string>> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  for (const child of children) if (child !== undefined) made.append(child);
  return made;
}

/** The element of the page with this id. */
export function byId<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new TypeError(`the page has no ${type.name} with the id ${id}`);
  return found;
}

export type Row = readonly [name: string, value: Child];

/** Names and values. Rows without a value are left out. */
export function description(rows: readonly Row[]): HTMLDListElement {
  const list = element("dl");
  for (const [name, value] of rows) {
    if (value !== undefined) list.append(element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  }
  return list;
}

/** A hash, a key or an address, which may break at every character. */
export function code(text: string): HTMLElement {
  return element("code", {}, text);
}
