// The changelog: what was done, by whom and when, statement by statement.

import { get } from "./api.js";
import { failure, field, h, milliseconds, select, time } from "./dom.js";
import { step } from "./plan.js";

export async function history(view, signal, given) {
  const platforms = await get("/admin/platforms", {}, signal);
  const platform = select(platforms.platforms.map((one) => [one.name, one.name]), given.get("platform"));
  const tenant = h("input", { autocomplete: "off", placeholder: "all", value: given.get("tenant") });
  const limit = select([["20", "20"], ["100", "100"], ["500", "500"]], "20");
  const found = h("div", { id: "entries" });
  const entry = h("form", { class: "bar" }, field("Platform", platform), field("Tenant", tenant), field("Deployments", limit), h("button", { type: "submit", class: "main" }, "Show"));
  view.replaceChildren(h("h2", {}, "History"), entry, found);

  async function load() {
    const values = { platform: platform.value, tenant_id: tenant.value, limit: limit.value };
    // A schema belongs to the tenant that somebody came with.
    if (tenant.value && tenant.value === given.get("tenant") && platform.value === given.get("platform")) values.schema_name = given.get("schema");
    try {
      const body = await get("/admin/changelog", values, signal);
      const groups = Map.groupBy(body.changelog, (row) => `${row.deployment_id} ${row.database ?? ""}`);
      found.replaceChildren(...(groups.size ? [...groups.values()].map(group) : [h("p", {}, "Nothing has been deployed.")]));
    } catch (error) {
      if (error.name !== "AbortError") found.replaceChildren(failure(error));
    }
  }

  function group(rows) {
    const [first] = rows;
    const steps = rows.filter((row) => row.sql);
    const bad = first.message ? `${first.message}${first.file ? ` (${first.file}${first.line ? `:${first.line}` : ""})` : ""}` : null;
    const text = `${time(first.started_at)} · ${first.database ?? first.kind} · ${first.state.replaceAll("_", " ")} · ${steps.length} statements · ${first.requested_by} ${first.client_address ?? ""}`;
    const spent = steps.reduce((sum, row) => sum + (row.duration_ms ?? 0), 0);
    return h("details", { class: "card" }, h("summary", { class: bad ? "bad" : null }, text),
      h("p", { class: "faint" }, `deployment ${first.deployment_id}, ${milliseconds(spent)}`),
      bad ? h("p", { class: "error" }, bad) : null, h("ol", { class: "plan" }, steps.map(step)));
  }

  entry.addEventListener("submit", (event) => {
    event.preventDefault();
    load();
  });
  if (platforms.count) await load();
  else found.replaceChildren(h("p", {}, "There is no platform."));
}
