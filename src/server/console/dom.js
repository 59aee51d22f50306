// Making elements, and writing amounts and times. Texts go into text nodes, never into markup.

// h("p", {class: "a", on: {click}}, "text", child, …); what is null or false is left out.
export function h(name, properties, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "on") {
      for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    } else {
      element.setAttribute(key, value === true ? "" : value);
    }
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

let fields = 0;

// A label with its control.
export function field(label, control, wide = false) {
  control.id ||= `field${++fields}`;
  return h("div", { class: wide ? "field wide" : "field" }, h("label", { for: control.id }, label), control);
}

export function options(values) {
  return values.map(([value, text]) => h("option", { value }, text));
}

export function select(values, chosen) {
  const made = h("select", {}, options(values));
  if (values.some(([value]) => value === chosen)) made.value = chosen;
  return made;
}

export function bytes(count) {
  if (count === undefined) return "";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${unit ? count.toFixed(1) : count} ${units[unit]}`;
}

const CLOCK = new Intl.DateTimeFormat(undefined, { dateStyle: "short", timeStyle: "medium" });

export function time(text) {
  return text ? CLOCK.format(new Date(text)) : "";
}

export function milliseconds(ms) {
  if (ms === undefined || ms === null) return "";
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

export const short = (sum) => (sum ?? "").slice(0, 12);

// An error with all that the server said.
export function failure(error) {
  const body = error.body ?? {};
  const place = body.file ? `${body.file}${body.line ? `:${body.line}` : ""}` : null;
  const more = [["Where", place], ["Detail", body.detail], ["Hint", body.hint], ["SQLSTATE", body.sqlstate], ["Database", body.database], ["Request", body.request_id]];
  return h("div", { class: "card", role: "alert" },
    h("p", { class: "error" }, body.error ? `${body.error}: ` : "", error.message),
    h("dl", {}, more.filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))])));
}

// What a screen reader is to say, and everybody sees in the corner.
let quiet;
export function say(text) {
  const status = document.getElementById("status");
  status.textContent = text;
  clearTimeout(quiet);
  quiet = setTimeout(() => { status.textContent = ""; }, 6000);
}
