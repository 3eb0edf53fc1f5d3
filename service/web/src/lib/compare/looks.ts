/** How each compared run is drawn, the same in every chart: runs that differ only in their seed share a colour and are
 * told apart by their dashes; all others have a colour of their own, and dashes too once there are many. Pure. */

export interface Look {
  color: string;
  /** Empty: an unbroken line. */
  dash: readonly number[];
}

export const DASHES: readonly (readonly number[])[] = [[], [9, 3], [2, 3], [12, 3, 2, 3]];
const COLORS = 12;
const ALIKE_AFTER = 4; // so many colours in a row are far apart for everybody's eyes

/** The colour of the k-th run or group of seeds. */
export function runColor(index: number): string {
  return `--run-${(index % COLORS) + 1}`;
}

/** ``groups``: for each run the number of its group, or null for one that stands alone. */
export function looksOf(groups: readonly (number | null)[]): Look[] {
  const colors = new Map<number, number>();
  const seeds = new Map<number, number>();
  let next = 0;
  return groups.map((group) => {
    if (group === null) {
      const color = next++;
      return { color: runColor(color), dash: DASHES[Math.floor(color / ALIKE_AFTER) % DASHES.length] ?? [] };
    }
    if (!colors.has(group)) colors.set(group, next++);
    const seed = seeds.get(group) ?? 0;
    seeds.set(group, seed + 1);
    return { color: runColor(colors.get(group) ?? 0), dash: DASHES[seed % DASHES.length] ?? [] };
  });
}
