// Asks for what is shown first while the other modules are still on their way: this one waits for none but api.js.

import { get, token } from "./api.js";

let asked = token.get() && /^(#tenants)?$/.test(location.hash) ? get("/admin/tenants") : null;
// Whoever takes it is told; if nobody does, nobody is to complain.
asked?.catch(() => {});

// The list of tenants that was asked for, once.
export function first() {
  const taken = asked;
  asked = null;
  return taken;
}
