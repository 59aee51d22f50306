// What an application does with the types that openapi-typescript made. PLATFORM stands for the platform's name.
// Lines under @ts-expect-error must not compile.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { argv: string[] };
const client = createClient<paths>({ baseUrl: process.argv[2]! });

function equal<T>(is: T, wanted: T): void {
  if (JSON.stringify(is) !== JSON.stringify(wanted)) throw new Error(`${JSON.stringify(is)}, not ${JSON.stringify(wanted)}`);
}

const added = await client.POST("/call/PLATFORM/add_item", {
  body: { p_name: "Pen", p_price: "12.50", p_colour: "green", p_tags: ["a", null], p_details: { any: [1, "x"] } },
});
if (added.error) throw new Error(added.error.message);
const item = added.data.rows[0]!;
equal(item.price satisfies number | null, 12.5);
equal(item.tags satisfies (string | null)[] | null, ["a", null]);
equal(item.colour satisfies "red" | "green" | null, "green");

// A default may be left out, and what has none may not.
equal((await client.POST("/call/PLATFORM/add_item", { body: { p_name: "Ink", p_price: 3 } })).response.status, 200);
// @ts-expect-error p_price is missing
equal((await client.POST("/call/PLATFORM/add_item", { body: { p_name: "Ink" } })).response.status, 404);
// @ts-expect-error there is no such colour
equal((await client.POST("/call/PLATFORM/add_item", { body: { p_name: "x", p_price: 1, p_colour: "blue" } })).response.status, 422);

// Rows of a table have its columns; those that are NOT NULL are never null.
const found = await client.GET("/call/PLATFORM/find_items", { params: { query: { p_limit: 1 } } });
const rows: components["schemas"]["item"][] = found.data!.rows;
equal(rows[0]!.id satisfies number, 1);
equal(found.data!.row_count satisfies number, 1);
// @ts-expect-error a function that writes has no GET
await client.GET("/call/PLATFORM/add_item", {});
// @ts-expect-error there is no such function
await client.POST("/call/PLATFORM/missing", {});

// Overloads.
equal((await client.POST("/call/PLATFORM/say", { body: { a: 1 } })).data!.rows[0]!.say satisfies string | null, "number 1");
equal((await client.POST("/call/PLATFORM/say", { body: { a: "x", b: true } })).data!.rows[0]!.say, "text x t");

// Parts in parts; nothing of a composite has to be sent.
const put = await client.POST("/call/PLATFORM/put", { body: { p_part: { label: "a", inner: [{ label: "b" }] } } });
equal(put.data!.rows[0]!.label satisfies string | null, "a");
equal(put.data!.rows[0]!.inner?.[0]?.label ?? null, "b");

// Parameters without names are a list.
equal((await client.POST("/call/PLATFORM/unnamed", { body: [1, "x"] })).data!.rows[0]!.unnamed satisfies string | null, "1x");

// Another tenant, a time limit.
const elsewhere = { params: { query: { tenant_id: "acme" }, header: { "X-Timeout-Ms": 5000 } } };
equal((await client.POST("/call/PLATFORM/total", { ...elsewhere, body: {} })).data!.rows[0]!.total satisfies number | null, 0);

// Errors.
const failed = await client.POST("/call/PLATFORM/fail", { body: {} });
equal(failed.response.status, 418);
equal(failed.error!.error satisfies string, "query_failed");
equal(failed.error!.sqlstate satisfies string | undefined, "PT418");
console.log("all calls went as typed");
