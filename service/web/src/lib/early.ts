/** What `public/early.js` asked for while this script was on its way: that is where the first view's figures come from. */

export interface Early {
  path: string;
  /** In this browser's clock. */
  askedAt: number;
  answer: Promise<Response>;
}

/** The live stream begins 2 s before its view: an older answer could lack what neither of them tells. */
const FRESH_MILLISECONDS = 1_500;

/** The answer to this question, once, if it was asked early and not too early. */
export function takeEarly(place: { early?: Early }, path: string, now = Date.now()): Promise<Response> | null {
  const { early } = place;
  if (early === undefined || early.path !== path) return null;
  delete place.early;
  return now - early.askedAt < FRESH_MILLISECONDS ? early.answer : null;
}

/** As `fetch`, but what was asked early is not asked again. */
export async function fetchEarly(path: string, init?: RequestInit): Promise<Response> {
  const answer = await (takeEarly(globalThis as { early?: Early }, path) ?? fetch(path, init));
  init?.signal?.throwIfAborted();
  return answer;
}
