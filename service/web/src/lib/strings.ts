/** Every word the page says, in one place, so that another language is one more file.
 *
 * For a second one copy this file to strings.<language>.ts, translate it (``typeof strings`` says what it must hold), and
 * choose between the two here, where ``strings`` is exported; numbers and ages are worded in format.ts. */
import { formatCount, formatNumber, formatShare, formatTimes } from "./format";

const plural = (count: number, one: string, many: string): string => (count === 1 ? one : many);

export const strings = {
  brand: "gradvitals",
  title: (view: string | null): string => (view === null ? "gradvitals" : `${view} · gradvitals`),
  skip: "Skip to the content",
  nav: { overview: "Overview", compare: "Compare" },

  health: {
    healthy: "Healthy",
    warning: "Warning",
    critical: "Critical",
    not_measurable: "Not measurable",
    unknown: "No data yet",
  },
  state: { running: "Running", paused: "Paused", finished: "Finished", failed: "Failed", unreachable: "Unreachable" } as Record<string, string>,
  kind: { explosion: "Explosion", vanishing: "Vanishing", non_finite: "Non-finite", two_processes: "Two processes", clip_saturation: "Clip saturation", instability: "Instability", stall: "Stall" } as Record<string, string>,
  severity: { info: "information", warning: "warning", critical: "critical" },
  eventStatus: { open: "open", resolved: "resolved" },

  live: {
    connecting: "Connecting",
    open: "Live",
    lost: (since: string): string => `Not live since ${since}`,
    lostLong: (since: string): string => `The live connection was lost at ${since}. What you see may be old; it is being tried again.`,
  },
  theme: { label: "Colours", auto: "As the system", light: "Light", dark: "Dark" },
  age: { now: "just now", ago: (duration: string): string => `${duration} ago` },

  overview: {
    heading: (critical: number, warning: number, total: number): string => {
      if (total === 0) return "No runs yet";
      if (critical > 0) return `${critical} ${plural(critical, "run needs", "runs need")} you`;
      if (warning > 0) return `${warning} ${plural(warning, "run is", "runs are")} worth a look`;
      return total === 2 ? "Both runs are well" : plural(total, "The run is well", `All ${total} runs are well`);
    },
    search: "Filter by name, project, owner or tag",
    searchKey: "/",
    all: "All",
    filterByHealth: "Filter by health",
    columns: { select: "Compare", health: "Health", run: "Run", norm: "Gradient norm", step: "Step", clip: "Clip rate", loss: "Loss", event: "Last event" },
    select: (name: string): string => `Select ${name} to compare`,
    selected: (count: number): string => `${count} selected`,
    compare: "Compare",
    clear: "Clear",
    more: "Show more runs",
    noMatch: "No run matches this filter.",
    showAll: "Show all runs",
    events: "Newest events",
    noEvents: "Nothing has happened. Good.",
    eventNone: "none",
    spark: (name: string, norm: string): string => `Gradient norm of ${name} over its steps, on a logarithmic scale; now ${norm}`,
    lastSeen: "last heard of",
  },

  /** The overview's filters, grouping and saved view. */
  filters: {
    group: "Filters",
  },

  /** The inbox of events, and what a person says to one. */
  inbox: {
    heading: "Events",
  },

  empty: {
    heading: "Waiting for the first run",
    lead: "Two lines in a training script on this machine, besides the import. The run appears here by itself, at its first step.",
    removeHint: "The minus line goes: gradvitals clips inside optimizer.step() and measures while it does.",
    diff: [
      ["+", "import gradvitals"],
      [" ", ""],
      ["+", 'run = gradvitals.init(project="my-project")'],
      ["+", "run.watch(model, optimizer, max_norm=1.0)"],
      [" ", ""],
      [" ", "for batch in loader:"],
      [" ", "    loss = loss_fn(model(batch.x), batch.y)"],
      [" ", "    optimizer.zero_grad(); loss.backward()"],
      ["-", "    clip_grad_norm_(model.parameters(), 1.0)"],
      [" ", "    optimizer.step()"],
    ] as [" " | "+" | "-", string][],
    diffLabel: "The change to a training script, as a diff",
    copy: "Copy the lines",
    copied: "Copied",
    waiting: "Listening for the first step",
  },

  run: {
    back: "All runs",
    by: (owner: string): string => `by ${owner}`,
    started: "started",
    rank: (rank: number): string => `rank ${rank}`,
    monitor: "Optimizer",
    facts: { step: "Step", norm: "Gradient norm", loss: "Loss", clip: "Clip rate, last 100 steps", threshold: "Threshold", lost: "Frames lost", frames: "Frames stored" },
    thresholdOff: "off",
    resumeFrom: (step: number): string => `Resume from step ${formatCount(step)}:`,
    newestCheckpoint: (step: number): string => `Newest checkpoint, of step ${formatCount(step)}:`,
    laterNotClean: (count: number): string => `(${formatCount(count)} later ${plural(count, "one is", "ones are")} not clean)`,
    noneClean: (count: number): string => (count === 1 ? "The only known checkpoint is not clean." : `None of the ${formatCount(count)} known checkpoints is clean.`),
    layers: "Layers",
    layersAt: (step: number): string => `at step ${formatCount(step)}`,
    layerColumns: { module: "Layer", share: "Share", norm: "Norm", weights: "Weights" },
    layersNone: "No layer has been measured yet.",
    showAllLayers: (count: number): string => `Show all ${formatCount(count)} layers`,
    frozen: "frozen",
    events: "Events",
    eventsNone: "No event in this run.",
    eventSteps: (from: number, to: number | null): string =>
      to === null ? `since step ${formatCount(from)}` : to === from ? `step ${formatCount(from)}` : `steps ${formatCount(from)} to ${formatCount(to)}`,
    showMoment: "Show the moment",
    config: "Configuration",
    configNone: "The run declared no configuration.",
    versions: "Versions",
    links: "Links",
    attempts: "Attempts and delivery",
    attemptColumns: { attempt: "Attempt", state: "State", where: "Where", step: "Last step", stored: "Stored", spooled: "Waiting", lost: "Lost", overhead: "Overhead" },
    attempt: (number: number): string => `Attempt ${number}`,
    heartbeat: "heartbeat",
    pid: (pid: number): string => `pid ${pid}`,
    notFound: "There is no such run",
    notFoundLead: "It may have been deleted, or the address is not complete.",
  },

  charts: {
    group: "Charts over the run's steps",
    norm: "Gradient norm",
    normHint: "before clipping, log scale",
    logHint: "log scale",
    meanHint: "mean of each point",
    loss: "Loss",
    clip: "Clipping",
    clipCoefficient: "coefficient",
    clipCoefficientTitle: "Clip coefficient",
    clipRate: "rate, last 100 steps",
    lr: "Learning rate",
    threshold: "max_norm",
    thresholdOf: (name: string): string => `max_norm of ${name}`,
    nonFinite: "non-finite",
    leaving: (peak: string): string => `up to ${peak} ↑`,
    step: (step: number): string => `step ${formatCount(step)}`,
    steps: (from: number, frames: number): string => (frames === 1 ? `step ${formatCount(from)}` : `steps from ${formatCount(from)}, ${formatCount(frames)} each point`),
    range: (low: string, high: string): string => (low === high ? low : `${low} to ${high}`),
    zoomHint: "Drag to zoom, double-click to reset",
    zoomFrom: "From step",
    zoomTo: "to",
    zoomShow: "Show",
    zoomReset: "Whole run",
    summary: (name: string, peak: number | null, last: number | null, nonFinite: number): string =>
      `${name}: last ${formatNumber(last)}, largest ${formatNumber(peak)}${nonFinite > 0 ? `, ${formatCount(nonFinite)} non-finite ${plural(nonFinite, "step", "steps")}` : ""}`,
    empty: "Nothing measured here yet",
  },

  /** What a chart gives away: its picture, its numbers. */
  share: {
    group: "Take this chart along",
  },

  /** Layers over steps. */
  heatMap: {
    heading: "Layers over steps",
  },

  /** What a clip threshold does, and what another one would have done. */
  threshold: {
    heading: "Clip threshold",
  },

  /** The frames around the opening of an event. */
  evidence: {
    heading: "Evidence",
  },

  /** Where a run trains, what the client costs, and what is still to come. */
  delivery: {
    heading: "Attempts and delivery",
  },

  /** The keyboard. */
  keys: {
    heading: "Keys",
    sign: "?",
    then: "then",
    close: "Close",
    actions: {
      search: "Search",
      next: "Next run of the list",
      previous: "Previous run of the list",
      open: "Open it",
      overview: "To the runs",
      inbox: "To the events",
      help: "Show these keys",
      close: "Close this",
    },
    /** What a screen reader is told when another view is shown. */
    views: { overview: "Overview", run: "Run", inbox: "Events", compare: "Compare", login: "Log in", not_found: "Nothing here" } as Record<string, string>,
  },

  compare: {
    heading: "Compare",
    columns: { run: "Run", loss: "Final loss", peak: "Largest norm", event: "First event", clip: "Clip rate", steps: "Steps" },
    none: "No run is chosen",
    noneLead: "Tick two or more runs on the overview, then choose Compare.",
    remove: (name: string): string => `Take ${name} out`,
    missing: (count: number): string => `${count} of the chosen runs could not be found.`,
    noEvent: "none",
    eventAt: (kind: string, step: number): string => `${kind.toLowerCase()} at step ${formatCount(step)}`,
    runIsGone: "This run could not be found.",
  },

  login: {
    heading: "Open the page with its link",
    spent: "This link was used before or is too old.",
    lead: "The service shows runs only to people it knows. Where it runs, the command that started it printed a one-time link:",
    serve: "gradvitals-service serve",
    again: "For a fresh link, ask the running service:",
    link: "gradvitals-service link",
    token: "Or paste a read token",
    example: "gv_…",
    submit: "Log in",
    refused: "The service does not know this token.",
    working: "Checking",
  },

  failed: {
    heading: "This could not be loaded",
    retry: "Try again",
    unreachable: "The service does not answer. Is gradvitals-service still running?",
    forbidden: "You may not see this",
    forbiddenLead: "The service knows you, but not as somebody who may read this. Ask whoever runs it for a read token, then log in with it.",
    login: "Log in as somebody else",
  },
  notFound: { heading: "There is nothing here", lead: "The address does not belong to any view.", home: "To the overview" },
  loading: "Loading",

  story: {
    unknown: "No step has arrived yet.",
    notMeasurable: "Not measurable: the gradients were clipped before gradvitals saw them, so their true norm is not known.",
    exploded: (step: number, times: number | null): string =>
      `Exploded at step ${formatCount(step)}${times === null ? "" : `, ${formatTimes(times)} times its usual norm`}`,
    nonFinite: (step: number): string => `Gradients non-finite since step ${formatCount(step)}`,
    nonFiniteToo: (step: number): string => `non-finite since step ${formatCount(step)}`,
    vanishing: (step: number): string => `Gradients vanishing since step ${formatCount(step)}`,
    other: (kind: string, step: number): string => `${kind} since step ${formatCount(step)}`,
    strongestIn: (layers: string): string => `strongest in ${layers}`,
    firstIn: (layers: string): string => `first in ${layers}`,
    vanishingIn: (layers: string): string => `in ${layers}`,
    andMore: (count: number): string => `and ${formatCount(count)} more`,
    well: (norm: number | null): string => (norm === null ? "Healthy" : `Healthy, with a norm of ${formatNumber(norm)}`),
    clipped: (rate: number): string => (rate === 0 ? "nothing clipped" : `${formatShare(rate)} of its steps clipped`),
    recovered: (kind: string, step: number): string => `an ${kind} at step ${formatCount(step)} is over`,
    recoveredA: (kind: string, step: number): string => `a ${kind} at step ${formatCount(step)} is over`,
    finishedAt: (step: number): string => `finished at step ${formatCount(step)}`,
    failedAt: (step: number): string => `the process failed at step ${formatCount(step)}`,
    unreachable: "not heard of for a while",
    paused: "paused",
    compareBroke: (name: string, what: string): string => `${name} ${what}`,
    compareExploded: (step: number): string => `exploded at step ${formatCount(step)}`,
    compareNonFinite: (step: number): string => `became non-finite at step ${formatCount(step)}`,
    compareVanished: (step: number): string => `stopped receiving gradients at step ${formatCount(step)}`,
    compareWell: (name: string, loss: number | null): string =>
      loss === null ? `${name} had no event` : `${name} had no event and reached a loss of ${formatNumber(loss)}`,
    compareAllWell: "No run had an event.",
  },
};
