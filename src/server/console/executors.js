// Executors and queues, every two seconds.

import { get } from "./api.js";
import { h, milliseconds } from "./dom.js";
import { grid } from "./grid.js";

const EVERY = 2000;

export async function executors(view, signal) {
  const workers = grid({
    label: "Executors",
    columns: [
      { title: "Process", width: "7rem", cell: (row) => String(row.pid ?? "…") },
      { title: "Database", cell: (row) => row.database },
      { title: "Role", class: "less", cell: (row) => row.role || "superuser" },
      { title: "State", cell: (row) => row.state },
      { title: "Served", width: "6rem", class: "number", cell: (row) => String(row.served) },
      { title: "Age", width: "6rem", class: "number", cell: (row) => milliseconds(row.age_ms) },
    ],
  });
  const queues = grid({
    label: "Queues",
    columns: [
      { title: "Database", cell: (row) => row.database },
      { title: "Role", class: "less", cell: (row) => row.role || "superuser" },
      { title: "Waiting", class: "number", cell: (row) => String(row.waiting) },
      { title: "Longest", class: "number", cell: (row) => milliseconds(row.longest_ms) },
    ],
  });
  const counts = h("p", { id: "counts" });
  view.replaceChildren(h("h2", {}, "Executors"), counts, workers.element, h("h3", {}, "Queues"), queues.element);
  async function load() {
    const body = await get("/admin/workers", {}, signal);
    const order = (row) => `${row.database} ${row.role}`;
    workers.show(body.workers.sort((a, b) => order(a).localeCompare(order(b))));
    queues.show(body.queues.sort((a, b) => b.waiting - a.waiting));
    const waiting = body.queues.reduce((sum, row) => sum + row.waiting, 0);
    counts.textContent = `${body.count} of at most ${body.max_workers}, ${body.max_workers_per_database} for one database; ${waiting} requests wait.`;
  }
  await load();
  const timer = setInterval(() => { if (!document.hidden) load().catch(() => {}); }, EVERY);
  signal.addEventListener("abort", () => clearInterval(timer));
}
