/** `npm run types`: the service's OpenAPI description, and the page's types from it. Both are committed. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { typesFrom } from "./openapi-types.mjs";

const web = new URL("../", import.meta.url);
const shared = new URL("../../.venv/bin/python", web);
const python = process.env["PYTHON"] ?? (existsSync(shared) ? shared.pathname : "python3");

const description = execFileSync(python, [new URL("dev/print_openapi.py", web).pathname], { encoding: "utf8" });
writeFileSync(new URL("openapi.json", web), description);
writeFileSync(new URL("src/lib/api-types.ts", web), await typesFrom(readFileSync(new URL("openapi.json", web), "utf8")));
