/** The comparison as a table: how each run did, then what it was told, a row a key. Pure. */
import { firstEvent } from "../describe";
import { formatCount, formatNumber, formatShare } from "../format";
import type { Event, RunDetail } from "../model";
import { peakOf, type SeriesBuffer } from "../series";
import { strings } from "../strings";
import { toFinite } from "../wire";
import { differences, rowOf, type DifferenceRow } from "./difference";
import { finalLoss } from "./story";

export interface Row extends DifferenceRow {
  hint?: string;
  /** How grave a run's value is. */
  tones?: (Event["severity"] | null)[];
}

export interface Section {
  title: string;
  rows: Row[];
}

export interface Tabled {
  run: RunDetail;
  events: readonly Event[];
  whole: SeriesBuffer | null;
}

const words = strings.compare;

/** Results always; of the rest what differs, or ``everything``. */
export function sectionsOf(runs: readonly Tabled[], everything: boolean): Section[] {
  const kept = (rows: Row[]): Row[] => rows.filter((row) => everything || row.differs);
  const about = aboutRows(runs).filter((row) => row.values.some((value) => value !== null));
  const sections = [
    { title: words.results, rows: resultRows(runs) },
    { title: words.settings, rows: kept(differences(runs.map(({ run }) => run.config))) },
    { title: words.about, rows: kept(about) },
    { title: words.versions, rows: kept(differences(runs.map(({ run }) => run.versions))) },
  ];
  return sections.filter(({ rows }) => rows.length > 0);
}

function resultRows(runs: readonly Tabled[]): Row[] {
  const losses = runs.map(({ whole }) => (whole === null ? null : finalLoss(whole)));
  const events = runs.map((run) => firstEvent(run.events));
  const { rows } = words;
  return [
    { ...plain(rows.loss, losses.map(formatNumber)), hint: rows.lossHint, tones: losses.map((loss) => (loss !== null && Number.isNaN(loss) ? "critical" : null)) },
    plain(rows.peak, runs.map(({ whole }) => formatNumber(peakOf(whole?.metrics["global_norm"])))),
    { ...plain(rows.event, events.map((event) => (event === null ? words.noEvent : words.eventAt(strings.kind[event.kind] ?? event.kind, event.start_step)))), tones: events.map((event) => event?.severity ?? null) },
    plain(rows.clip, runs.map(({ run }) => formatShare(run.clip_rate))),
    plain(rows.limit, runs.map(({ run }) => formatLimit(run))),
    plain(rows.steps, runs.map(({ run }) => formatCount(run.frames))),
    plain(rows.state, runs.map(({ run }) => strings.state[run.state] ?? run.state)),
  ];
}

function aboutRows(runs: readonly Tabled[]): Row[] {
  const { rows } = words;
  const of = (key: string, value: (run: RunDetail) => string | null): Row => rowOf(key, runs.map(({ run }) => value(run)));
  return [of(rows.owner, (run) => run.owner), of(rows.project, (run) => run.project), of(rows.group, (run) => run.group), of(rows.tags, (run) => run.tags.join(", ") || null)];
}

/** Results differ always a little: that is not worth a mark. */
function plain(key: string, values: string[]): Row {
  return { ...rowOf(key, values), differs: false, unusual: values.map(() => false) };
}

function formatLimit(run: RunDetail): string {
  const limit = toFinite(run.max_norm);
  return limit === null ? words.off : formatNumber(limit);
}
