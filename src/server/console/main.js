// Signing in, and which view is shown: what stands behind # in the address.

import { get, token } from "./api.js";
import { call } from "./call.js";
import { deploy } from "./deploy.js";
import { deployments } from "./deployments.js";
import { failure } from "./dom.js";
import { executors } from "./executors.js";
import { history } from "./history.js";
import { tenants } from "./tenants.js";

const VIEWS = { tenants, deployments, deploy, history, executors, call };

const view = document.getElementById("view");
const nav = document.getElementById("nav");
const enter = document.getElementById("enter");
const leave = document.getElementById("leave");
const refused = document.getElementById("refused");
let shown = new AbortController();

async function show(moved) {
  const [name, rest] = (location.hash.slice(1) || "tenants").split("?");
  const render = VIEWS[name] ?? tenants;
  // What the view before was waiting for is of no use any more.
  shown.abort();
  shown = new AbortController();
  for (const link of nav.children) {
    if (link.hash === `#${render.name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const place = document.createElement("div");
  view.replaceChildren(place);
  if (moved) view.focus();
  try {
    await render(place, shown.signal, new URLSearchParams(rest));
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.status === 401 || error.status === 403 || error.body?.error === "admin_disabled") return out(error.message);
    place.append(failure(error));
  }
}

function within(yes) {
  nav.hidden = !yes;
  leave.hidden = !yes;
}

function out(why = "") {
  shown.abort();
  token.drop();
  within(false);
  refused.textContent = why;
  enter.reset();
  view.replaceChildren(enter);
  document.getElementById("token").focus();
}

enter.addEventListener("submit", (event) => {
  event.preventDefault();
  token.set(document.getElementById("token").value.trim());
  within(true);
  show(true);
});
leave.addEventListener("click", () => out());
addEventListener("hashchange", () => { if (token.get()) show(true); });

if (token.get()) {
  within(true);
  show(false);
}
get("/health").then((health) => { document.getElementById("version").textContent = health.version; }, () => {});
