// Platforms and their tenants: state, size, bundle, drift.

import { get } from "./api.js";
import { bytes, failure, field, h, options, say, select, short, time } from "./dom.js";
import { first } from "./early.js";
import { grid } from "./grid.js";

function state(row) {
  const what = row.unfinished ? `${row.state}, unfinished` : row.state;
  return h("span", { class: row.state === "ready" && !row.unfinished ? "safe" : "bad", title: row.suspended_because }, what);
}

function drift(row) {
  if (row.drift === undefined) return h("span", { class: "faint" }, row.touched ? "touched" : "not checked");
  return row.drift ? h("span", { class: "bad" }, `${row.drift} differences`) : h("span", { class: "safe" }, row.touched ? "none, touched since" : "none");
}

function bundle(row) {
  if (!row.bundle_sha256) return "";
  return h("span", { class: row.is_current ? null : "warn" }, `${short(row.bundle_sha256)} ${row.is_current ? "" : "(older)"}`);
}

const COLUMNS = [
  { title: "Tenant", cell: (row) => row.tenant_id },
  { title: "Platform", width: "7rem", class: "less", cell: (row) => (row.schema_name ? `${row.platform} / ${row.schema_name}` : row.platform) },
  { title: "Database", class: "less", cell: (row) => row.database },
  { title: "State", width: "6.5rem", cell: state },
  { title: "Size", width: "6.5rem", class: "number", cell: (row) => bytes(row.size_bytes) },
  { title: "Bundle", width: "11.2rem", class: "less", cell: bundle },
  { title: "Drift", width: "8rem", cell: drift },
  { title: "Connections", width: "7.5rem", class: "number less rare", cell: (row) => String(row.connections ?? "") },
  { title: "Deployed", width: "12rem", class: "less", cell: (row) => time(row.deployed_at) },
];

export async function tenants(view, signal) {
  const detail = h("section", { "aria-live": "polite" });
  const list = grid({ label: "Tenants", columns: COLUMNS, open: (row) => show(row) });
  const platform = select([["", "All platforms"]], "");
  const wanted = h("input", { type: "search", autocomplete: "off", placeholder: "tenant, database, state, bundle" });
  const count = h("p", { class: "faint", id: "count" }, "");
  let rows = [];

  function filter() {
    const words = wanted.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = rows.filter((row) => (!platform.value || row.platform === platform.value) && words.every((word) => row.text.includes(word)));
    list.show(found);
    const size = found.reduce((sum, row) => sum + (row.size_bytes ?? 0), 0);
    const of = (what, is) => {
      const number = found.filter(is).length;
      return number ? `, ${number} ${what}` : "";
    };
    count.textContent = `${found.length} of ${rows.length} databases, ${bytes(size)}`
      + of("not ready", (row) => row.state !== "ready") + of("with an older bundle", (row) => !row.is_current) + of("with drift", (row) => row.drift);
  }

  async function load() {
    const body = await (first() ?? get("/admin/tenants", {}, signal));
    for (const row of body.tenants) {
      const words = [row.tenant_id, row.database, row.platform, row.schema_name, row.state, row.bundle_sha256, row.drift ? "drift" : "", row.is_current ? "newest" : "older"];
      row.text = words.join(" ").toLowerCase();
    }
    rows = body.tenants;
    const names = [...new Set(rows.map((row) => row.platform))];
    const chosen = platform.value;
    platform.replaceChildren(...options([["", `All platforms (${names.length})`], ...names.map((name) => [name, name])]));
    platform.value = names.includes(chosen) ? chosen : "";
    filter();
  }

  function show(row) {
    const found = h("div", {});
    const check = h("button", { type: "button" }, "Look for drift now");
    check.addEventListener("click", async () => {
      check.disabled = true;
      try {
        const body = await get("/admin/drift", { platform: row.platform, schema_name: row.schema_name ?? "", tenant_id: row.tenant_id }, signal);
        const of = body.drift.filter((one) => one.database === row.database);
        row.drift = of.length;
        filter();
        found.replaceChildren(of.length
          ? h("ul", {}, of.map((one) => h("li", {}, `${one.kind} ${one.object}: ${one.deviation} ${one.detail ?? ""}`)))
          : h("p", { class: "safe" }, "It is as its bundle says."));
      } catch (error) {
        found.replaceChildren(failure(error));
      }
      check.disabled = false;
    });
    const to = (name) => `#${name}?${new URLSearchParams({ platform: row.platform, tenant: row.tenant_id, schema: row.schema_name ?? "" })}`;
    const facts = [["Database", row.database], ["State", row.state], ["Suspended", row.suspended_because], ["Size", bytes(row.size_bytes)],
      ["Bundle", row.bundle_sha256], ["Deployment", row.deployment_id], ["Deployed", time(row.deployed_at)], ["Checked", time(row.checked_at)]];
    detail.replaceChildren(h("div", { class: "card", id: "tenant" },
      h("h2", { tabindex: -1 }, `${row.tenant_id} of ${row.platform}`),
      h("dl", {}, facts.filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
      h("p", {}, h("a", { href: to("history") }, "History"), " · ", h("a", { href: to("call") }, "Call a function"), row.schema_name ? null : [" · ", h("a", { href: to("deploy") }, "Deploy to it")]),
      check, found));
    detail.querySelector("h2").focus();
  }

  const again = h("button", { type: "button", on: { click: () => load().then(() => say("The list is as of now."), (error) => view.append(failure(error))) } }, "Refresh");
  platform.addEventListener("change", filter);
  wanted.addEventListener("input", filter);
  view.replaceChildren(h("div", { class: "bar" }, field("Platform", platform), field("Search", wanted, true), again), list.element, count, detail);
  await load();
  performance.mark("tenants");
}
