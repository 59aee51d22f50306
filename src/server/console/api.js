// The server: requests with the token, errors as they are told, and events.

const KEY = "stonescriptdb.admin_token";

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  drop: () => sessionStorage.removeItem(KEY),
};

// What the server said, or that there is no server.
export class Failure extends Error {
  constructor(status, body) {
    super(body.message ?? `the server answered ${status}`);
    this.status = status;
    this.body = body;
  }
}

async function send(path, options = {}) {
  const headers = { Authorization: `Bearer ${token.get() ?? ""}`, ...options.headers };
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit", redirect: "error" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(0, { message: "the server cannot be reached" });
  }
  if (!response.ok) {
    throw new Failure(response.status, await response.json().catch(() => ({})));
  }
  return response;
}

// Parameters that are empty are left out.
export function query(path, values) {
  const text = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== ""));
  return text.size ? `${path}?${text}` : path;
}

export async function get(path, values = {}, signal = undefined) {
  return (await send(query(path, values), { signal })).json();
}

export async function post(path, body) {
  const options = { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  return (await send(path, options)).json();
}

export async function form(path, fields, file) {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value) body.append(name, value);
  }
  body.append("schema", file);
  return (await send(path, { method: "POST", body })).json();
}

// Server-sent events, read from a fetch: EventSource cannot send a token. Ends with the stream.
export async function* events(path, signal) {
  const response = await send(path, { signal, headers: { Accept: "text/event-stream" } });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value.replaceAll("\r\n", "\n")).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = { event: "message", data: "" };
      for (const line of block.split("\n")) {
        const at = line.indexOf(":");
        if (at > 0) fields[line.slice(0, at)] = line.slice(at + 1).replace(/^ /, "");
      }
      if (fields.data) yield { name: fields.event, data: JSON.parse(fields.data) };
    }
  }
}
