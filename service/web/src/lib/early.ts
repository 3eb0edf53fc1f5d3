/** What `public/early.js` asked for while this script was on its way: the first view takes the answer over. */

export interface Early {
  path: string;
  /** In this browser's clock. */
  askedAt: number;
  answer: Promise<Response>;
}

const here = globalThis as { early?: Early };

/** When what is about to be read was asked for: what happens from then on must be told. */
export function askedAt(place: { early?: Early } = here): number {
  return place.early?.askedAt ?? Date.now();
}

/** The answer to this question, once, if it was asked early. */
export function takeEarly(place: { early?: Early }, path: string): Promise<Response> | null {
  const { early } = place;
  if (early?.path !== path) return null;
  delete place.early;
  return early.answer;
}

/** As `fetch`, but what was asked early is not asked again, and cannot be aborted. */
export function fetchEarly(path: string, init?: RequestInit): Promise<Response> {
  return takeEarly(here, path) ?? fetch(path, init);
}
