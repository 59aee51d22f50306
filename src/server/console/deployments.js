// Deployments: those that were, and those that run, as they go.

import { events, get, post } from "./api.js";
import { failure, field, h, milliseconds, say, select, time } from "./dom.js";
import { grid } from "./grid.js";

export const STATES = { completed: "safe", unchanged: "safe", completed_with_warnings: "warn", running: "warn", planned: "faint" };

const tone = (state) => STATES[state] ?? "bad";

const COLUMNS = [
  { title: "Started", cell: (row) => time(row.started_at) },
  { title: "Platform", cell: (row) => row.platform },
  { title: "Kind", class: "less", cell: (row) => (row.dry_run ? `${row.kind} (dry run)` : row.kind) },
  { title: "State", cell: (row) => h("span", { class: tone(row.state) }, row.state.replaceAll("_", " ")) },
  { title: "Done", width: "7rem", class: "number", cell: (row) => `${row.done ?? 0} of ${row.total ?? 0}` },
  { title: "By", class: "less", cell: (row) => `${row.requested_by ?? ""} ${row.client_address ?? ""}` },
  { title: "Error", class: "less", cell: (row) => row.message ?? "" },
];

export async function deployments(view, signal, given) {
  const detail = h("section", {});
  const list = grid({ label: "Deployments", columns: COLUMNS, open: (row) => show(row.deployment_id) });
  const platform = select([["", "All platforms"]], "");
  let watched = null;

  async function load() {
    const body = await get("/admin/deployments", { platform: platform.value }, signal);
    const names = new Set([...platform.options].map((option) => option.value));
    for (const row of body.deployments) {
      if (row.platform && !names.has(row.platform)) {
        names.add(row.platform);
        platform.append(h("option", { value: row.platform }, row.platform));
      }
    }
    list.show(body.deployments);
  }

  function show(id) {
    watched?.abort();
    watched = new AbortController();
    signal.addEventListener("abort", () => watched.abort());
    const card = h("div", { class: "card" });
    detail.replaceChildren(card);
    follow(card, id, watched.signal, () => load().catch(() => {})).catch((error) => {
      if (error.name !== "AbortError") card.replaceChildren(failure(error));
    });
  }

  const again = h("button", { type: "button", on: { click: () => load().then(() => say("The list is as of now."), (error) => view.append(failure(error))) } }, "Refresh");
  platform.addEventListener("change", () => load().catch((error) => view.append(failure(error))));
  view.replaceChildren(h("div", { class: "bar" }, field("Platform", platform), again), list.element, detail);
  await load();
  if (given.get("id")) show(given.get("id"));
}

// Shows one deployment, and how it goes on until it has ended.
export async function follow(card, id, signal, ended = () => {}) {
  const bar = h("progress", { "aria-label": "Databases that are done" });
  const counts = h("p", { "aria-live": "polite", class: "counts" });
  const rows = grid({
    label: "Databases of the deployment",
    columns: [
      { title: "Database", cell: (row) => row.database },
      { title: "State", cell: (row) => h("span", { class: tone(row.status) }, (row.status ?? "").replaceAll("_", " ")) },
      { title: "Time", width: "7rem", class: "number", cell: (row) => milliseconds(row.execution_time_ms) },
      { title: "Error", cell: (row) => row.error?.message ?? row.error ?? "" },
    ],
  });
  const buttons = h("p", {});
  const errors = h("div", {});
  const title = h("h2", { tabindex: -1 }, "Deployment ", h("code", {}, id));
  card.replaceChildren(title, bar, counts, buttons, rows.element, errors);
  title.focus();

  const known = new Map();
  const tell = (numbers) => {
    bar.max = Math.max(1, numbers.total);
    bar.value = numbers.done;
    const parts = ["succeeded", "unchanged", "failed", "skipped"].filter((name) => numbers[name]).map((name) => `${numbers[name]} ${name}`);
    counts.textContent = `${numbers.state.replaceAll("_", " ")}: ${numbers.done} of ${numbers.total} done${parts.length ? ` (${parts.join(", ")})` : ""}`;
    counts.className = `counts ${tone(numbers.state)}`;
  };
  const take = (record) => {
    for (const row of record.databases) known.set(row.database, row);
    rows.show([...known.values()]);
    tell(record);
    buttons.replaceChildren(...verbs(record));
  };
  const verb = (name, text, path) => h("button", {
    type: "button",
    on: {
      click: async (event) => {
        event.target.disabled = true;
        try {
          await post(`/deployments/${id}/${path}`, {});
          say(`${text}: done`);
          await follow(card, id, signal, ended);
        } catch (error) {
          errors.replaceChildren(failure(error));
        }
      },
    },
  }, text);
  const verbs = (record) => {
    if (record.state === "running") return [verb("cancel", "Cancel", "cancel")];
    const offered = [];
    if (["cancelled", "interrupted", "partial", "failed"].includes(record.state) && record.remaining > 0) offered.push(verb("resume", "Resume", "resume?wait=false"), " ");
    if (record.failed > 0) offered.push(verb("retry", "Retry what failed", "retry?wait=false"));
    return offered;
  };

  take(await get(`/deployments/${id}`, {}, signal));
  for await (const { name, data } of events(`/deployments/${id}/events`, signal)) {
    if (name === "database") {
      known.set(data.database, { ...data, status: data.status ?? data.state });
      rows.show([...known.values()]);
    } else {
      tell(data);
    }
  }
  const record = await get(`/deployments/${id}`, {}, signal);
  take(record);
  if (record.error) errors.replaceChildren(failure({ message: record.error.message, body: record.error }));
  ended(record);
}
