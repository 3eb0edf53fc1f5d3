/** A run's configuration as lines of text: nested keys joined by dots, values as their JSON. */
export function flatten(value: unknown, prefix = ""): [string, string][] {
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    return [[prefix, typeof value === "string" ? value : JSON.stringify(value)]];
  }
  const entries = Object.entries(value);
  if (entries.length === 0) return prefix === "" ? [] : [[prefix, "{}"]];
  return entries.flatMap(([key, inner]) => flatten(inner, prefix === "" ? key : `${prefix}.${key}`));
}
