import { describe, expect, test } from "vitest";
import { countsOf, describeDelivery, gravest, launchesOf, stateOf } from "./delivery";
import type { Attempt, Gap, RunDetail } from "./model";

const monitor = (made: number, spooled = 0) => ({ made, spooled }) as Attempt["monitors"][string];
const attempt = (more: Partial<Attempt>) =>
  ({ attempt_id: `${more.launch}/${more.rank}`, launch: "1", rank: 0, host: "node7", started_at: "2026-09-21T10:00:00Z", overhead: null, stored: 0, lost: 0, monitors: {}, ...more }) as Attempt;
const gap = (reason: string, n: number) => ({ reason, n, first_step: null, last_step: null }) as Gap;
const told = (run: Partial<RunDetail>, gaps: Gap[] = []) => describeDelivery({ attempts: [], frames: 0, lost: 0, state: "running", ...run }, gaps);

describe("attempts by launch", () => {
  const first = attempt({ launch: "b", started_at: "2026-09-21T10:00:00Z", overhead: 0.002, stored: 96, lost: 1, monitors: { main: monitor(100, 3) } });
  const later = [1, 0].map((rank) => attempt({ launch: "a", rank, started_at: `2026-09-21T11:00:0${1 - rank}Z`, overhead: rank === 1 ? 0.004 : null, stored: 56, monitors: { main: monitor(50), critic: monitor(10, 4) } }));

  test("are numbered in the order in which they were started, with their ranks in order", () => {
    expect(launchesOf([...later, first]).map(({ number, id, ranks }) => [number, id, ranks.map(({ rank }) => rank)])).toEqual([
      [1, "b", [0]],
      [2, "a", [0, 1]],
    ]);
  });

  test("count the frames of all monitors and ranks, and tell the largest overhead", () => {
    const [one, two] = launchesOf([first, ...later]);
    expect(one?.counts).toEqual({ stored: 96, waiting: 3, lost: 1 });
    expect(two?.counts).toEqual({ stored: 112, waiting: 8, lost: 0 });
    expect([one?.overhead, two?.overhead]).toEqual([0.002, 0.004]);
    expect(countsOf([])).toEqual({ stored: 0, waiting: 0, lost: 0 });
  });
});

describe("what an attempt does", () => {
  const NOW = new Date("2026-09-21T12:00:00Z").getTime();
  const silent = attempt({ state: "running", heartbeat_at: "2026-09-21T11:00:00Z" });

  test("is what it said, as long as nothing speaks against it", () => {
    expect(stateOf(silent, false, { state: "running" }, NOW)).toBe("running");
    expect(stateOf({ ...silent, state: "finished" }, true, { state: "unreachable" }, NOW)).toBe("finished");
    expect(stateOf({ ...silent, heartbeat_at: "2026-09-21T11:59:50Z" }, true, { state: "running" }, NOW)).toBe("running");
  });

  test("is unknown of one that fell silent before another went on, or with the whole run", () => {
    expect(stateOf(silent, true, { state: "running" }, NOW)).toBe("unreachable");
    expect(stateOf(silent, false, { state: "unreachable" }, NOW)).toBe("unreachable");
  });

  test("one failed rank among many is told", () => expect(gravest(["finished", "failed", "running"])).toBe("failed"));
});

describe("delivery in words", () => {
  const holding = (stored: number) => [attempt({ stored, monitors: { main: monitor(500, 312) } })];

  test("all is here", () => {
    expect(told({ frames: 48_210 })).toBe("All 48,210 frames have arrived.");
    expect(told({})).toBe("No frame has arrived yet.");
  });

  test("what waits is on its way while the run lives, and is to be fetched afterwards", () => {
    expect(told({ attempts: holding(188), frames: 188 })).toBe("312 frames are on their way.");
    expect(told({ attempts: holding(188), frames: 188, state: "unreachable" })).toBe("312 frames wait on node7 and arrive once it reaches the service, or after `gradvitals sync` there.");
    expect(told({ attempts: [attempt({ monitors: { main: monitor(1, 1) } })], state: "failed" })).toMatch(/^1 frame waits on node7/);
  });

  test("another attempt's frames make up for none", () => {
    expect(told({ attempts: [...holding(188), attempt({ launch: "2", stored: 1000 })], frames: 1188 })).toBe("312 frames are on their way.");
  });

  test("what has arrived since the client spoke last waits no more", () => {
    expect(told({ attempts: holding(490), frames: 490 })).toBe("10 frames are on their way.");
    expect(told({ attempts: holding(520), frames: 520 })).toBe("All 520 frames have arrived.");
  });

  test("what was lost has a reason, and several are counted", () => {
    expect(told({ frames: 10, lost: 1024 }, [gap("quota", 1024)])).toBe("1,024 frames were lost: the machine's spool was full.");
    expect(told({ frames: 10, lost: 30 }, [gap("refused", 10), gap("queue_full", 20), gap("retention", 99)])).toBe(
      "30 frames were lost: they came faster than they could be kept (20); the service refused them (10).",
    );
  });

  test("a reason of tomorrow is said as it is, and reasons that do not add up are not counted", () => {
    expect(told({ frames: 10, lost: 30 }, [gap("constructor", 5), gap("quota", 4)])).toBe("30 frames were lost: constructor; the machine's spool was full.");
    expect(told({ frames: 10, lost: 1 })).toBe("1 frame was lost.");
  });

  test("waiting and lost are both said", () => {
    expect(told({ attempts: [attempt({ stored: 75, lost: 5, monitors: { main: monitor(100, 20) } })], frames: 75, lost: 5, state: "failed" }, [gap("damaged", 5)])).toBe(
      "20 frames wait on node7 and arrive once it reaches the service, or after `gradvitals sync` there. 5 frames were lost: a disk had spoiled them.",
    );
  });
});
