// A bundle sent: first the plan, then, if somebody wants it so, the deployment.

import { form, get } from "./api.js";
import { failure, field, h } from "./dom.js";
import { follow } from "./deployments.js";
import { plans, refused } from "./plan.js";

export async function deploy(view, signal, given) {
  const platforms = await get("/admin/platforms", {}, signal);
  const names = h("datalist", { id: "platforms" }, platforms.platforms.map((one) => h("option", { value: one.name })));
  const platform = h("input", { list: "platforms", required: true, autocomplete: "off", value: given.get("platform") });
  const tenant = h("input", { autocomplete: "off", placeholder: "all databases", value: given.get("tenant") });
  const file = h("input", { type: "file", accept: ".gz,.tgz,.tar,application/gzip", required: true });
  const result = h("div", { id: "plan" });
  const look = h("button", { type: "submit", class: "main" }, "Show the plan");
  const entry = h("form", { class: "card" },
    h("h2", {}, "Deploy a bundle"),
    h("p", {}, "The plan is shown before anything is changed."),
    h("div", { class: "bar" }, field("Platform", platform), field("Tenant", tenant), field("Archive (tar.gz)", file, true), look), names);
  view.replaceChildren(entry, result);
  // Another input is another plan.
  entry.addEventListener("input", () => result.replaceChildren());
  entry.addEventListener("submit", async (event) => {
    event.preventDefault();
    look.disabled = true;
    result.replaceChildren(h("p", { role: "status" }, "The bundle is proved and compared …"));
    const fields = { platform: platform.value, tenant_id: tenant.value };
    try {
      const body = await form("/migrate", { ...fields, dry_run: "true" }, file.files[0]);
      result.replaceChildren(planned(body, fields));
      result.querySelector("h2").focus();
    } catch (error) {
      result.replaceChildren(failure(error));
    }
    look.disabled = false;
  });

  function planned(body, fields) {
    const losses = refused(body);
    const kinds = [...new Set(losses.map((change) => change.allow ?? "everything"))];
    const told = new Map();
    for (const change of losses) {
      const text = `${change.change_type} ${change.table}${change.column ? `.${change.column}` : ""}: ${change.reason}`;
      told.set(text, (told.get(text) ?? 0) + 1);
    }
    const boxes = kinds.map((kind) => h("input", { type: "checkbox", value: kind }));
    const apply = h("button", { type: "button", class: "main", id: "apply", disabled: kinds.length > 0 }, "Apply the plan");
    const allowed = losses.length ? h("fieldset", {},
      h("legend", { class: "bad" }, "Data would be lost"),
      h("ul", {}, [...told].map(([text, count]) => h("li", {}, count > 1 ? `${text} (in ${count} databases)` : text))),
      kinds.map((kind, at) => h("label", {}, boxes[at], ` Allow ${kind.replaceAll("_", " ")}`))) : null;
    allowed?.addEventListener("change", () => { apply.disabled = !boxes.every((box) => box.checked); });
    allowed?.addEventListener("input", (event) => event.stopPropagation());
    const warnings = (body.warnings ?? []).map((warning) => h("li", { class: "warn" }, warning));
    apply.addEventListener("click", async () => {
      apply.disabled = true;
      const more = { wait: "false" };
      if (kinds.includes("everything")) more.force = "true";
      else if (kinds.length) more.allow = kinds.join(",");
      // What was shown, and nothing else, if it is one plan.
      const groups = body.plans ?? [body];
      if (groups.length === 1 && groups[0].plan_fingerprint) more.plan = groups[0].plan_fingerprint;
      try {
        const begun = await form("/migrate", { ...fields, ...more }, file.files[0]);
        const card = h("div", { class: "card", id: "going" });
        result.replaceChildren(card);
        await follow(card, begun.deployment_id, signal);
      } catch (error) {
        if (error.name !== "AbortError") result.prepend(failure(error));
      }
    });
    return h("div", { class: "card" }, h("h2", { tabindex: -1 }, "The plan"), warnings.length ? h("ul", {}, warnings) : null, plans(body), allowed, apply);
  }
}
