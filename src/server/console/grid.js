// A table of which only the rows in sight are in the document.

import { h } from "./dom.js";

const ROW = 34; // as in style.css
const MORE = 12; // rows above and below those in sight

// columns: [{title, width, class, cell: (row) => text or node}]. The first cell is the row's button if `open` is given.
export function grid({ label, columns, open }) {
  const head = h("thead", {}, h("tr", { "aria-rowindex": 1 }, columns.map((column) => h("th", { scope: "col", class: column.class }, column.title))));
  const above = h("tr", { class: "space", "aria-hidden": "true" }, h("td", { colspan: columns.length }));
  const below = h("tr", { class: "space", "aria-hidden": "true" }, h("td", { colspan: columns.length }));
  const body = h("tbody", {}, above, below);
  const widths = h("colgroup", {}, columns.map((column) => h("col", { class: column.class })));
  columns.forEach((column, at) => { if (column.width) widths.children[at].style.width = column.width; });
  const table = h("table", { "aria-label": label }, widths, head, body);
  const box = h("div", { class: "grid", tabindex: 0, role: "region", "aria-label": label }, table);
  let rows = [], first = 0, last = 0, selected = null, frame = 0;
  const drawn = new Map();

  function line(row, at) {
    const cells = columns.map((column, place) => {
      let content = column.cell(row) ?? "";
      if (place === 0 && open) {
        content = h("button", { type: "button", class: "link", on: { click: () => choose(row) } }, content);
      }
      return h("td", { class: column.class, title: typeof content === "string" && content.length > 24 ? content : null }, content);
    });
    return h("tr", { "aria-rowindex": at + 2, "aria-selected": open ? String(row === selected) : null }, cells);
  }

  function choose(row) {
    selected = row;
    draw(true);
    open(row);
  }

  function draw(anew) {
    frame = 0;
    const height = box.clientHeight || 600;
    const from = Math.max(0, Math.floor(box.scrollTop / ROW) - MORE);
    const to = Math.min(rows.length, Math.ceil((box.scrollTop + height) / ROW) + MORE);
    if (!anew && from === first && to === last) return;
    const within = body.contains(document.activeElement);
    first = from;
    last = to;
    above.firstChild.style.height = `${from * ROW}px`;
    below.firstChild.style.height = `${(rows.length - to) * ROW}px`;
    const at = Number(document.activeElement?.closest?.("tr")?.getAttribute("aria-rowindex")) - 2;
    // Rows that stay in sight stay as they are.
    for (const [place, row] of drawn) {
      if (anew || place < from || place >= to) {
        row.remove();
        drawn.delete(place);
      }
    }
    let next = below;
    for (let place = to - 1; place >= from; place -= 1) {
      let row = drawn.get(place);
      if (!row) {
        row = line(rows[place], place);
        drawn.set(place, row);
        next.before(row);
      }
      next = row;
    }
    // Of a row that has the focus, the one that has come in its place gets it, or else the table.
    if (within && !body.contains(document.activeElement)) {
      (drawn.get(at)?.querySelector("button") ?? box).focus({ preventScroll: true });
    }
  }

  function later() {
    frame ||= requestAnimationFrame(() => draw(false));
  }

  // The arrows go from row to row, as Tab goes from control to control.
  box.addEventListener("keydown", (event) => {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };
    const step = steps[event.key];
    if (!open || step === undefined || !rows.length) return;
    event.preventDefault();
    const now = Number(document.activeElement?.closest?.("tr")?.getAttribute("aria-rowindex") ?? (step > 0 ? 1 : 2)) - 2;
    const next = Math.min(rows.length - 1, Math.max(0, now + step));
    const top = next * ROW;
    if (top < box.scrollTop) box.scrollTop = top;
    if (top + 2 * ROW > box.scrollTop + box.clientHeight) box.scrollTop = top + 2 * ROW - box.clientHeight;
    draw(true);
    body.querySelector(`tr[aria-rowindex="${next + 2}"] button`)?.focus({ preventScroll: true });
  });
  box.addEventListener("scroll", later, { passive: true });
  new ResizeObserver(later).observe(box);

  return {
    element: box,
    show(list) {
      rows = list;
      table.setAttribute("aria-rowcount", rows.length + 1);
      draw(true);
    },
  };
}
