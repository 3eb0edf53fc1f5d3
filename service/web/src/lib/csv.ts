/** Tables as CSV (RFC 4180) that a spreadsheet opens as what they are. Pure. */

export type Cell = string | number | null;

export function toCsv(rows: readonly (readonly Cell[])[]): string {
  return rows.map((row) => `${row.map(spell).join(",")}\r\n`).join("");
}

/** A spreadsheet takes a text that begins like this for a formula and runs it; an apostrophe in front makes it text. */
const FORMULA = /^[\s\0]*[=+\-@＝＋－＠]|^[\t\r\n]/u;

function spell(cell: Cell): string {
  if (cell === null) return "";
  if (typeof cell === "number") return String(cell);
  const text = FORMULA.test(cell) ? `'${cell}` : cell;
  return /[",\r\n]|^\s|\s$/u.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
