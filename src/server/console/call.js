// A function called: the form is made from its signature.

import { get, post } from "./api.js";
import { failure, field, h, milliseconds, select } from "./dom.js";

// `IN p_id bigint`, with the name quoted if need be: mode, name and type.
export function parameter(text) {
  const found = /^(\S+) (?:"((?:[^"]|"")*)"|(\S+)) ([^]*)$/.exec(text);
  return found ? { mode: found[1], name: (found[2] ?? found[3]).replaceAll('""', '"'), type: found[4] } : null;
}

const NUMBERS = new Set(["smallint", "integer", "bigint", "numeric", "real", "double precision"]);
const isJson = (type) => type === "json" || type === "jsonb";

// The input parameters of a function, each with whether it may be left out.
export function inputs(of) {
  const all = of.parameters.map(parameter).filter((one) => one && ["IN", "INOUT", "VARIADIC"].includes(one.mode));
  const optional = all.length - (of.defaults ?? 0);
  return all.map((one, at) => ({ ...one, optional: at >= optional || one.mode === "VARIADIC" }));
}

function control(one) {
  if (one.type === "boolean") return select([["", one.optional ? "default" : "NULL"], ["true", "true"], ["false", "false"]], "");
  const hint = one.optional ? "default" : "NULL";
  if (isJson(one.type) || one.type === "text") return h("textarea", { placeholder: hint, spellcheck: "false" });
  return h("input", { placeholder: hint, autocomplete: "off", inputmode: NUMBERS.has(one.type) ? "decimal" : null });
}

// Arrays and composites are JSON if they look like it; everything else goes as text through the type's own input.
function value(one, text) {
  if (isJson(one.type) || /^\s*[[{]/.test(text) && !one.type.startsWith("text")) {
    try {
      return JSON.parse(text);
    } catch {
      return text;
    }
  }
  return one.type === "boolean" ? text === "true" : text;
}

export async function call(view, signal, given) {
  const platforms = await get("/admin/platforms", {}, signal);
  const platform = select(platforms.platforms.map((one) => [one.name, one.name]), given.get("platform"));
  const tenant = h("input", { autocomplete: "off", placeholder: "main", value: given.get("tenant") });
  const chosen = h("select", {});
  const sheet = h("form", { class: "card", hidden: true });
  const result = h("section", { id: "result", "aria-live": "polite" });
  const schema = () => (tenant.value === given.get("tenant") && platform.value === given.get("platform") ? given.get("schema") : null);
  let functions = [];
  view.replaceChildren(h("h2", {}, "Call a function"),
    h("div", { class: "bar" }, field("Platform", platform), field("Tenant", tenant), field("Function", chosen, true)), sheet, result);

  async function load() {
    result.replaceChildren();
    try {
      const body = await get("/admin/functions", { platform: platform.value, tenant_id: tenant.value, schema_name: schema() }, signal);
      functions = body.functions;
      chosen.replaceChildren(...functions.map((one, at) => h("option", { value: at }, `${one.name}(${inputs(one).map((input) => `${input.name} ${input.type}`).join(", ")})`)));
      show();
    } catch (error) {
      functions = [];
      chosen.replaceChildren();
      sheet.hidden = true;
      if (error.name !== "AbortError") result.replaceChildren(failure(error));
    }
  }

  function show() {
    const one = functions[chosen.value];
    sheet.hidden = !one;
    if (!one) return;
    const controls = inputs(one).map((input) => ({ input, control: control(input), isNull: h("input", { type: "checkbox" }) }));
    const unnamed = controls.some(({ input }) => input.name === "");
    sheet.replaceChildren(h("div", {}, h("h2", {}, `${one.schema}.${one.name}`), one.comment ? h("p", {}, one.comment) : null,
      h("p", { class: "faint" }, one.result ? `gives ${one.result}` : one.kind),
      controls.map(({ input, control, isNull }, at) => h("div", { class: "bar" },
        field(`${input.name || `$${at + 1}`} (${input.type}${input.mode === "VARIADIC" ? ", an array" : ""})`, control, true),
        input.optional && !unnamed ? h("label", {}, isNull, " NULL") : null)),
      h("button", { type: "submit", class: "main" }, "Call")));
    sheet.onsubmit = (event) => {
      event.preventDefault();
      run(one, controls, unnamed);
    };
  }

  async function run(one, controls, unnamed) {
    let params = unnamed ? [] : {};
    for (const { input, control, isNull } of controls) {
      const given = control.value !== "";
      if (unnamed) {
        if (!given && input.optional) break;
        params.push(given ? value(input, control.value) : null);
      } else if (given || isNull.checked || !input.optional) {
        params[input.name] = given && !isNull.checked ? value(input, control.value) : null;
      }
    }
    const quoted = (name) => `"${name.replaceAll('"', '""')}"`;
    const body = { platform: platform.value, tenant_id: tenant.value, function: `${quoted(one.schema)}.${quoted(one.name)}`, params };
    if (schema()) body.schema_name = schema();
    const begun = performance.now();
    try {
      const answer = await post("/call", body);
      result.replaceChildren(rows(answer, performance.now() - begun));
    } catch (error) {
      result.replaceChildren(failure(error));
    }
  }

  function rows(answer, ms) {
    const shown = answer.rows.slice(0, 500);
    const names = Object.keys(shown[0] ?? {});
    const cell = (value) => (value === null ? h("span", { class: "faint" }, "NULL") : typeof value === "object" ? JSON.stringify(value) : String(value));
    return h("div", { class: "card" },
      h("p", {}, `${answer.row_count} ${answer.row_count === 1 ? "row" : "rows"} in ${answer.execution_time_ms} ms, ${milliseconds(ms)} with the way here`, shown.length < answer.row_count ? `; the first ${shown.length}` : ""),
      names.length ? h("div", { class: "grid", tabindex: 0, role: "region", "aria-label": "Rows" },
        h("table", {}, h("thead", {}, h("tr", {}, names.map((name) => h("th", { scope: "col" }, name)))),
          h("tbody", {}, shown.map((row) => h("tr", {}, names.map((name) => h("td", {}, cell(row[name])))))))) : null);
  }

  platform.addEventListener("change", load);
  tenant.addEventListener("change", load);
  chosen.addEventListener("change", () => { result.replaceChildren(); show(); });
  if (platforms.count) await load();
}
