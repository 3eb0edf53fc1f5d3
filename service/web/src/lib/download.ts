/** Hand a file to the browser. Nothing leaves the machine: the page has made it itself. */

/** A file's name of letters, digits, dots and hyphens, whatever strangers have called things. */
export function fileName(parts: readonly string[], extension: string): string {
  const words = parts.join(" ").normalize("NFKD").replace(/[^\p{Letter}\p{Number}.]+/gu, "-");
  const name = [...words].slice(0, 100).join("").replace(/^[-.]+|[-.]+$/g, "");
  return `${name || "chart"}.${extension}`;
}

export function save(content: Blob, name: string): void {
  const address = URL.createObjectURL(content);
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000); // some browsers read it only after the click has returned
}
