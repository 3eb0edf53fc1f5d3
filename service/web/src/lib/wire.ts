/** Numbers as the service writes them: JSON has no NaN, so a non-finite number is a string and a missing one null. */

export type WireNumber = number | "NaN" | "Infinity" | "-Infinity";

/** The number itself; null stays null, so that "absent" and "not a number" never meet. */
export function toNumber(value: WireNumber | null | undefined): number | null {
  return value === null || value === undefined ? null : Number(value);
}

/** The number where it can be drawn on an axis, else null. */
export function toFinite(value: WireNumber | null | undefined): number | null {
  const number = toNumber(value);
  return number !== null && Number.isFinite(number) ? number : null;
}
