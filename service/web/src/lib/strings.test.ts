import { readdirSync, readFileSync } from "node:fs";
import { parse } from "svelte/compiler";
import { describe, expect, test } from "vitest";

/** Attributes that people read or hear. */
const SAID = new Set(["aria-label", "aria-roledescription", "aria-valuetext", "alt", "label", "placeholder", "title"]);
const WORD = /\p{L}{2}/u;
const src = new URL("../", import.meta.url).pathname;

interface Node {
  type: string;
  [field: string]: unknown;
}

/** The words that a template says itself: its texts, its labels, and what its expressions choose between. */
function wordsIn(source: string): string[] {
  const found: string[] = [];
  const keep = (text: unknown): void => void (typeof text === "string" && WORD.test(text) && found.push(text.trim()));

  function chosen(expression: Node): void {
    if (expression.type === "Literal") keep(expression["value"]);
    if (expression.type === "TemplateLiteral") for (const part of nodes(expression["quasis"])) keep((part["value"] as { cooked: string }).cooked);
    for (const branch of ["consequent", "alternate", "left", "right"]) {
      if (/^(Conditional|Logical)Expression$/.test(expression.type)) for (const node of nodes(expression[branch])) chosen(node);
    }
  }

  function walk(node: Node): void {
    if (node.type === "Text") return keep(node["data"]);
    if (node.type === "ExpressionTag") for (const expression of nodes(node["expression"])) chosen(expression);
    for (const [field, inner] of Object.entries(node)) {
      if (field === "attributes") for (const attribute of nodes(inner)) if (SAID.has(String(attribute["name"]))) nodes(attribute["value"]).forEach(walk);
      if (field !== "attributes" && field !== "expression") nodes(inner).forEach(walk);
    }
  }

  walk(parse(source, { modern: true }).fragment as unknown as Node);
  return found;
}

function nodes(value: unknown): Node[] {
  return (Array.isArray(value) ? value : [value]).filter((one): one is Node => one !== null && typeof one === "object" && "type" in one);
}

describe("another language is one more file", () => {
  const components = readdirSync(src, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".svelte"));

  test("since no component has words of its own", () => {
    expect(components.length).toBeGreaterThan(20);
    expect(components.flatMap((name) => wordsIn(readFileSync(src + name, "utf8")).map((word) => `${name}: ${word}`))).toEqual([]);
  });

  test.each([
    ["<p>Hello</p>", "Hello"],
    ['<img alt="A picture" />', "A picture"],
    ["<p>{good ? 'well' : bad}</p>", "well"],
    ["{#if open}<b title={`at ${step}`}></b>{/if}", "at"],
  ])("which is noticed in %s", (source, word) => expect(wordsIn(source)).toEqual([word]));

  test.each(["<p class='card'>{strings.loading}</p>", "<i>·</i>", "<p class={open ? 'open' : 'shut'}></p>"])("and not in %s", (source) => expect(wordsIn(source)).toEqual([]));
});
