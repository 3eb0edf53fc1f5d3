"""A page that stays open: how soon it shows what happens, and whether it grows."""

import threading
import time

from playwright.sync_api import Browser

from benchmarks.page.browser import CHART, heap_mebibytes, opened, seen_at
from benchmarks.page.figures import Row, row
from benchmarks.page.runs import pace, trained
from benchmarks.serving import serving

LAYERS = 20
QUIET_STEPS = 256
STEPS_A_CHUNK = 25  # a client sends every 250 ms, here of a training at 100 steps a second
SECONDS_A_CHUNK = 0.25
BETWEEN_EVENTS_SECONDS = 0.4
BACKGROUND_RUNS = 3
WARM_UPDATES = 4_000  # until the chart's buffer has been halved once, so that it has its full size
LOOKS = 4

# An event is visible once a row or an entry that names the run names the explosion too.
_WATCH_FOR_EVENTS = """
() => {
  window.shown = {};
  const look = () => {
    for (const place of document.querySelectorAll("main [role=row], main li")) {
      const name = /victim-\\d+-/.exec(place.textContent)?.[0];
      if (name && !(name in shown) && place.textContent.includes("Explosion")) shown[name] = Date.now();
    }
  };
  const everything = { subtree: true, childList: true, characterData: true };
  new MutationObserver(look).observe(document.querySelector("main"), everything);
}
"""


def measure_live(browser: Browser, events: int) -> list[Row]:
    """From handing the exploding frame to the service to the page's change, on the overview, while others train."""
    with serving() as service:
        victims = [trained(service, LAYERS, seed, f"victim-{seed}-", QUIET_STEPS) for seed in range(events)]
        others = [
            trained(service, LAYERS, 10_000 + seed, f"other-{seed}", QUIET_STEPS) for seed in range(BACKGROUND_RUNS)
        ]
        ended = threading.Event()

        def train() -> None:
            while not ended.wait(SECONDS_A_CHUNK):
                for other in others:
                    other.send(other.body(3))

        training = threading.Thread(target=train)
        training.start()
        sent: dict[str, float] = {}
        try:
            with opened(browser, service, "/") as page:
                page.wait_for_function("document.querySelectorAll('main [role=row]').length > 10")
                page.evaluate(_WATCH_FOR_EVENTS)
                for number, victim in enumerate(victims):
                    body = victim.body(1, factor=1e5)
                    sent[f"victim-{number}-"] = time.time() * 1e3
                    victim.send(body)
                    page.wait_for_timeout(BETWEEN_EVENTS_SECONDS * 1e3)
                page.wait_for_function("count => Object.keys(shown).length >= count", arg=events)
                shown = page.evaluate("shown")
        finally:
            ended.set()
            training.join()
    waits = [shown[name] - at for name, at in sent.items()]
    return [row("live: exploding frame at the service to visible in the page", "ms", waits, 500, "p99")]


def measure_heap(browser: Browser, updates: int) -> list[Row]:
    """The growth of an open run page's heap over so many steps, at 100 a second."""
    with serving() as service:
        stream = trained(service, LAYERS, 0, "long", QUIET_STEPS)
        with opened(browser, service, f"/runs/{stream.run_id}") as page:
            seen_at(page, CHART)
            cdp = page.context.new_cdp_session(page)
            held = []
            for _ in range(WARM_UPDATES // STEPS_A_CHUNK):
                stream.send(stream.body(STEPS_A_CHUNK))
            began, beats = time.perf_counter(), 0
            for look in range(LOOKS + 1):
                while beats * STEPS_A_CHUNK < updates * look // LOOKS:
                    stream.send(stream.body(STEPS_A_CHUNK))
                    beats += 1
                    if beats % 20 == 0:
                        stream.beat()
                    pace(began, beats, SECONDS_A_CHUNK)
                held.append(heap_mebibytes(cdp))
            newest = f"{stream.next - 1:,}"  # the page has followed, or its heap says nothing
            page.wait_for_function("step => document.body.textContent.includes(step)", arg=newest)
    growth = [after - held[0] for after in held[1:]]
    title = f"run page over {updates:,} live updates at {STEPS_A_CHUNK / SECONDS_A_CHUNK:.0f} a second"
    return [
        row(f"{title}: heap growth", "MiB", growth, 20, "worst"),
        row(f"{title}: heap before", "MiB", held[:1], None),
    ]
