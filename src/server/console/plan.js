// A plan for people: statements with class and hazards in colour.

import { h, short } from "./dom.js";

const GRAVE = new Set(["deletes_data", "rewrites_table"]);
const CLASS = { safe: "safe", dataloss: "bad", incompatible: "bad" };

export function step(one) {
  return h("li", {},
    h("strong", {}, one.object ?? ""), h("span", { class: `tag ${CLASS[one.class] ?? ""}` }, one.class ?? ""),
    (one.hazards ?? []).map((hazard) => h("span", { class: `tag ${GRAVE.has(hazard) ? "bad" : "warn"}` }, hazard.replaceAll("_", " "))),
    one.transactional === false ? h("span", { class: "tag faint" }, "outside of the transaction") : null,
    h("pre", { tabindex: 0, role: "group", "aria-label": `Statement for ${one.object ?? "the database"}` }, one.sql ?? ""));
}

// The groups of databases in one state, each with its plan.
export function plans(body) {
  const groups = body.plans ?? [{ databases: (body.databases ?? []).map((row) => row.database), plan: body.plan, plan_fingerprint: body.plan_fingerprint }];
  return groups.map((group) => h("section", {},
    h("h3", {}, named(group.databases), h("span", { class: "faint" }, ` ${group.plan.length} statements, plan ${short(group.plan_fingerprint)}`)),
    group.plan.length ? h("ol", { class: "plan" }, group.plan.map(step)) : h("p", { class: "safe" }, "Nothing to do.")));
}

function named(databases) {
  const more = databases.length - 5;
  return databases.slice(0, 5).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

// What would be refused: changes that lose data, and the kinds that allow them.
export function refused(body) {
  const validation = body.schema_validation ?? {};
  return [...(validation.dataloss_changes ?? []), ...(validation.incompatible_changes ?? [])];
}
