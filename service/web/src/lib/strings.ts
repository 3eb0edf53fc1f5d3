/** Every word the page says, in one place, so that another language is one more file. */
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
    lead: "Two lines in a training script, besides the import. The run appears here by itself, at its first step.",
    here: "A training of the same user on this machine finds the service by itself. One elsewhere is told by GRADVITALS_URL and GRADVITALS_TOKEN.",
    elsewhere: "The training finds the service by two variables; whoever runs the service has its ingest token:",
    token: "<ingest token>",
    environmentLabel: "Lines for the shell that starts the training",
    copyEnvironment: "Copy the variables",
    check: "Nothing appears? On the machine that trains, this says line by line what works and what does not:",
    checkLine: "gradvitals check",
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
    waiting: "Listening for the first step",
  },

  copy: { copy: "Copy", path: "Copy the path", copied: "Copied", refused: "Select it and copy by hand" },

  run: {
    back: "All runs",
    by: (owner: string): string => `by ${owner}`,
    started: "started",
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
    configSearch: "Search keys and values",
    configNoMatch: "Nothing matches.",
    configAll: (count: number): string => `Show all ${formatCount(count)}`,
    configCopy: "Copy as JSON",
    environment: "Environment",
    environmentKeys: { host: "host", ranks: "ranks", optimizer: "optimizer", clip: "clips" },
    clipOff: "nothing",
    clipNorm: (limit: string, normType: string): string => `norm at ${limit}${normType === "2" ? "" : `, of type ${normType}`}`,
    clipValue: (limit: string): string => `each value at ${limit}`,
    links: "Links",
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
    hint: "gradient norms before clipping",
    suggested: "Suggested",
    present: "Now",
    line: "The line",
    off: "off",
    noSuggestion: "There is no suggestion",
    slider: "Clip threshold to try",
    field: "Try another",
    picture: (frames: number, healthy: number, low: number, high: number): string =>
      `Histogram of ${formatCount(frames)} gradient norms before clipping, ${formatCount(healthy)} of them healthy, from ${formatNumber(low)} to ${formatNumber(high)} on a logarithmic axis`,
    says: (line: string, clipped: string, frames: number, rate: string): string => `${line} would have clipped ${clipped} of ${formatCount(frames)} steps, ${rate}`,
    atLeast: (count: string): string => `at least ${count}`,
    flag: (rate: string): string => `clips ${rate}`,
    legend: { healthy: "healthy steps", other: "explosions, their surroundings and the first steps", heights: "heights on a log scale" },
    beyond: (norm: number): string => `up to ${formatNumber(norm)} →`,
    columns: { threshold: "max_norm", clipped: "Steps clipped", rate: "of all", healthyRate: "of healthy ones", coefficient: "Mean clip coefficient" },
    summary: "What each threshold would have clipped",
    nonFinite: (count: number): string => `${formatCount(count)} non-finite ${plural(count, "step is", "steps are")} not shown.`,
    alreadyClipped: (count: number): string => `${formatCount(count)} ${plural(count, "step was", "steps were")} clipped before the measurement and ${plural(count, "is", "are")} not shown.`,
    newest: (frames: number, rate: number, lr: number | null, effective: number | null): string =>
      `Of the newest ${formatCount(frames)} steps ${rate === 0 ? "none was" : `${formatShare(rate)} were`} clipped` +
      (lr === null || effective === null || effective >= 0.995 * lr ? "." : `; the learning rate of ${formatNumber(lr)} is in effect ${formatNumber(effective)}.`),
    table: "Round thresholds as a table",
    caveat: "Counted on the norms as they were: from the first step that is clipped otherwise, the weights and so the norms would have been others.",
  },

  /** The frames around the opening of an event. */
  evidence: {
    heading: "Evidence",
  },

  /** Where a run trains, what the client costs, and what is still to come. */
  delivery: {
    heading: "Attempts and delivery",
    none: "No frame has arrived yet.",
    arrived: (count: number): string => (count === 1 ? "The frame has arrived." : `All ${formatCount(count)} frames have arrived.`),
    onTheWay: (count: number): string => `${formatCount(count)} ${plural(count, "frame is", "frames are")} on ${plural(count, "its", "their")} way.`,
    waits: (count: number, host: string | null): string =>
      `${formatCount(count)} ${plural(count, "frame waits", "frames wait")} on ${host ?? "the machine"} and ${plural(count, "arrives", "arrive")} once it reaches the service, or after \`gradvitals sync\` there.`,
    wereLost: (count: number, reasons: string): string => `${formatCount(count)} ${plural(count, "frame was", "frames were")} lost${reasons === "" ? "" : `: ${reasons}`}.`,
    because: (reason: string, count: number | null): string => (count === null ? reason : `${reason} (${formatCount(count)})`),
    reasons: {
      quota: "the machine's spool was full",
      queue_full: "they came faster than they could be kept",
      refused: "the service refused them",
      rewound: "the service went back to an older state of its database",
      damaged: "a disk had spoiled them",
    } as Record<string, string>,
    attempt: (number: number): string => `Attempt ${formatCount(number)}`,
    resumed: (step: number): string => `from step ${formatCount(step)}`,
    late: "sent late",
    rank: (rank: number, of: number): string => `Rank ${formatCount(rank)} of ${formatCount(of)}`,
    showRanks: (count: number): string => `${formatCount(count)} ranks`,
    showRanksOf: (number: number): string => ` of attempt ${formatCount(number)}`,
    process: (pid: number): string => `process ${pid}`,
    more: (count: number): string => `and ${formatCount(count)} more`,
    heartbeat: "heartbeat",
    overheadHigh: "above 1 %",
    columns: { attempt: "Attempt", state: "State", where: "Where", step: "Last step", stored: "Stored", waiting: "Waiting", lost: "Lost", overhead: "Overhead" },
    legend: [
      ["Stored", "arrived, and on the service's disk"],
      ["Waiting", "kept on the training's machine until the service has it"],
      ["Lost", "given up: a gap in the charts"],
      ["Overhead", "share of a step that gradvitals takes; promised is at most 1 %"],
    ] as [string, string][],
  },

  /** The keyboard. */
  keys: {
    heading: "Keys",
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
    submit: "Log in",
    refused: "The service does not know this token.",
    working: "Checking",
  },

  failed: {
    heading: "This could not be loaded",
    retry: "Try again",
    unreachable: "The service does not answer. Is gradvitals-service still running?",
  },
  notFound: { heading: "There is nothing here", lead: "The address does not belong to any view.", home: "To the overview" },
  loading: "Loading",

  story: {
    unknown: "No step has arrived yet",
    notMeasurable: "Not measurable: the gradients were clipped before gradvitals saw them, so their true norm is not known",
    notRead: (health: string): string => `${health}: what happened is being read`,
    exploded: (step: number, times: number | null): string =>
      `Exploded at step ${formatCount(step)}${times === null ? "" : `, ${formatTimes(times)} times its usual norm`}`,
    nonFinite: (step: number): string => `Gradients non-finite since step ${formatCount(step)}`,
    nonFiniteToo: (step: number): string => `non-finite since step ${formatCount(step)}`,
    weightsLost: "weights non-finite by now",
    weightsLostBy: (step: number): string => `weights non-finite by step ${formatCount(step)}`,
    vanishing: (step: number): string => `Gradients vanishing since step ${formatCount(step)}`,
    saturated: (step: number, coefficient: number | null): string =>
      `Clipped on nearly every step since step ${formatCount(step)}${coefficient === null ? "" : `, usually to ${formatShare(coefficient)} of the gradient`}`,
    unstable: (step: number): string => `Unstable since step ${formatCount(step)}, as runs are before they explode`,
    twoProcesses: (rank: number): string => `Two processes train this run at once as rank ${rank}`,
    other: (kind: string, step: number): string => `${kind} since step ${formatCount(step)}`,
    of: (monitor: string): string => ` (optimizer ${monitor})`,
    strongestIn: (layers: string): string => `strongest in ${layers}`,
    firstIn: (layers: string): string => `first in ${layers}`,
    vanishingIn: (layers: string): string => `in ${layers}`,
    andMore: (count: number): string => `and ${formatCount(count)} more`,
    well: (norm: number | null): string => (norm === null ? "Healthy" : `Healthy, with a norm of ${formatNumber(norm)}`),
    clipped: (rate: number): string => (rate === 0 ? "nothing clipped" : `${formatShare(rate)} of its steps clipped`),
    recovered: (kind: string, step: number): string => `an ${kind} at step ${formatCount(step)} is over`,
    recoveredA: (kind: string, step: number): string => `a ${kind} at step ${formatCount(step)} is over`,
    recoveredMany: (count: number, kind: string, step: number): string => `${formatCount(count)} events are over, the gravest of them (${kind}) at step ${formatCount(step)}`,
    /** What the process does, at the end of the sentence; while it runs there is nothing to say. */
    state: {
      paused: (): string => "paused",
      unreachable: (): string => "not heard of for a while",
      hung: (step) => `hung: no step${step === null ? "" : ` since ${formatCount(step)}`} for a long while`,
      finished: (step) => `finished${step === null ? "" : ` at step ${formatCount(step)}`}`,
      failed: (step, exception) => `the process failed${step === null ? "" : ` at step ${formatCount(step)}`}${exception === null ? "" : ` with ${exception}`}`,
    } as Record<string, (step: number | null, exception: string | null) => string>,
    weights: "Weights",
    weightsSpoiled: (step: number | null): string => (step === null ? "Not finite: nothing is left to save." : `Not finite. Take what was saved from step ${formatCount(step)} on for spoiled.`),
    weightsUnknown: "Not measured since; they may be spoiled.",
    weightsHit: (step: number): string => `Still finite, but hit: take what was saved from step ${formatCount(step)} on for damaged until the loss is back.`,
    weightsFine: "Still finite.",
    norm: "Norm",
    peakAt: (peak: number, step: number | null, usual: number | null): string =>
      `up to ${formatNumber(peak)}${step === null ? "" : ` at step ${formatCount(step)}`}${usual === null ? "" : `, usually ${formatNumber(usual)}`}`,
    lastHealthy: (step: number): string => `last healthy at step ${formatCount(step)}`,
    seen: "Seen",
    cause: "Perhaps",
    action: "What to do",
    ifRight: "if the guess is right",
    guess: "a guess",
    seeThreshold: "See what other thresholds would clip",
    since: "seen",
    compareBroke: (name: string, what: string): string => `${name} ${what}`,
    compareExploded: (step: number): string => `exploded at step ${formatCount(step)}`,
    compareNonFinite: (step: number): string => `became non-finite at step ${formatCount(step)}`,
    compareVanished: (step: number): string => `stopped receiving gradients at step ${formatCount(step)}`,
    compareWell: (name: string, loss: number | null): string =>
      loss === null ? `${name} had no event` : `${name} had no event and reached a loss of ${formatNumber(loss)}`,
    compareAllWell: "No run had an event.",
  },
};
