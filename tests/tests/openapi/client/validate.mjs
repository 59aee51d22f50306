// Is the document valid OpenAPI 3.1, and do the server's answers, and what is sent for them, fit its schemas?
//     node validate.mjs openapi.json http://127.0.0.1:9000 calls.json
import { readFile } from "node:fs/promises";
import { Validator } from "@seriousme/openapi-schema-validator";
import Ajv2020 from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

const [file, base, callsFile] = process.argv.slice(2);
const document = JSON.parse(await readFile(file, "utf8"));
const validator = new Validator();
const outcome = await validator.validate(structuredClone(document));
if (!outcome.valid) {
  console.error(JSON.stringify(outcome.errors, null, 1));
  process.exit(1);
}
if (validator.version !== "3.1") throw new Error(`OpenAPI ${validator.version}`);

const ajv = new Ajv2020.default({ strict: false, allErrors: true });
addFormats.default(ajv);
ajv.addFormat("int32", { type: "number", validate: (n) => Number.isInteger(n) && Math.abs(n) < 2 ** 32 });
ajv.addFormat("int64", { type: "number", validate: Number.isInteger });
ajv.addFormat("float", true);
ajv.addFormat("double", true);
ajv.addSchema(document, "document");
const pointer = (parts) => parts.map((part) => encodeURIComponent(part.replaceAll("~", "~0").replaceAll("/", "~1"))).join("/");
const fits = (parts, value, what) => {
  const validate = ajv.compile({ $ref: `document#/${pointer(parts)}` });
  if (!validate(value)) {
    throw new Error(`${what} does not fit: ${JSON.stringify(value)}: ${ajv.errorsText(validate.errors)}`);
  }
};

let done = 0;
for (const { path, query, body, status } of JSON.parse(await readFile(callsFile, "utf8"))) {
  const method = body === undefined ? "get" : "post";
  const operation = document.paths[path]?.[method];
  if (!operation) throw new Error(`no ${method} of ${path}`);
  const at = ["paths", path, method];
  const json = "application/json";
  if (body !== undefined) fits([...at, "requestBody", "content", json, "schema"], body, `what is sent to ${path}`);
  const headers = body === undefined ? {} : { "Content-Type": json };
  const answer = await fetch(`${base}${path}${query ?? ""}`, { method, headers, body: body && JSON.stringify(body) });
  const value = await answer.json();
  if (answer.status !== (status ?? 200)) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(value)}`);
  if (status === undefined) {
    fits([...at, "responses", "200", "content", json, "schema"], value, `the answer of ${path}`);
  } else {
    fits(["components", "responses", "Error", "content", json, "schema"], value, `the error of ${path}`);
  }
  done += 1;
}
console.log(`valid; ${done} calls fit`);
