/** The colours of norms: viridis, whose lightness rises evenly and which colour-blind eyes can order, too.
 *
 * The points are every sixteenth of the 256 colours that S. van der Walt and N. Smith published as viridis (2015, CC0);
 * between two of them the way is straight, which is nowhere more than two of 255 levels beside the published colours.
 */
type Colour = readonly [red: number, green: number, blue: number];

// prettier-ignore
const VIRIDIS: readonly Colour[] = [
  [68, 1, 84], [72, 24, 106], [71, 45, 123], [66, 64, 134], [59, 82, 139], [51, 99, 141], [44, 114, 142], [38, 130, 142], [33, 145, 140],
  [31, 160, 136], [40, 174, 128], [63, 188, 115], [94, 201, 98], [132, 212, 75], [173, 220, 48], [216, 226, 25], [253, 231, 37],
];

/** The colour at a place from 0 to 1. */
export function viridis(place: number): Colour {
  const along = Math.min(Math.max(place, 0), 1) * (VIRIDIS.length - 1);
  const at = Math.min(Math.floor(along), VIRIDIS.length - 2);
  const [from = VIRIDIS[0]!, to = VIRIDIS[0]!] = [VIRIDIS[at], VIRIDIS[at + 1]];
  const mix = (channel: 0 | 1 | 2): number => Math.round(from[channel] + (to[channel] - from[channel]) * (along - at));
  return [mix(0), mix(1), mix(2)];
}

/** What a cell shows, by rank: the higher one wins where several cells share a pixel, so that none is hidden. */
export const ABSENT = 0;
export const ZERO = 1;
export const LOWEST = 2;
export const LEVELS = 256;
export const NON_FINITE = LOWEST + LEVELS;

/** The colour of each rank as a canvas stores a pixel; ``zero`` and ``nonFinite`` are #rrggbb. */
export function inks(zero: string, nonFinite: string): Uint32Array {
  const ink = new Uint32Array(NON_FINITE + 1);
  for (let level = 0; level < LEVELS; level++) ink[LOWEST + level] = pixel(viridis(level / (LEVELS - 1)));
  ink[ZERO] = pixel(parse(zero));
  ink[NON_FINITE] = pixel(parse(nonFinite));
  return ink;
}

/** A colour scale in CSS. */
export function gradient(): string {
  return `linear-gradient(to right, ${VIRIDIS.map((colour) => `rgb(${colour.join(" ")})`).join(", ")})`;
}

function parse(colour: string): Colour {
  const channel = (at: number): number => parseInt(colour.slice(at, at + 2), 16);
  return [channel(1), channel(3), channel(5)];
}

function pixel([red, green, blue]: Colour): number {
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0; // a little-endian machine, as all that browsers run on
}
