"""What a hundred open pages cost the service while several runs train.

A third of them show the overview, a third a run's charts, a third a run scrolled to its layers. What a page asks was
recorded from real ones in Chromium, over a minute of the same training; a hundred tabs of Chromium would measure
Chromium, so that asynchronous readers repeat it, each with a phase of its own: one stream of server-sent events and the
page's own readings. The cost is the service's CPU time beside that of the same training with nobody looking, before and
after.
"""

import asyncio
import random
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Request

from benchmarks.page.asking import Recording, absolute, record, relative
from benchmarks.page.browser import opened
from benchmarks.page.figures import Row, row
from benchmarks.page.runs import trained
from benchmarks.serving import Service, Stream, serving

RUNS = 8
LAYERS = 20
STEPS_A_SECOND = 10
SECONDS_A_CHUNK = 0.25  # as a client flushes
STEPS_BEFORE = 1_024
PAGES = 100
OPENING_SECONDS = 5.0
RECORDED_SECONDS = 60.0
MEASURED_SECONDS = 45.0
ALONE_SECONDS = 15.0

# Again and again, since what waits is replaced by something of another height.
_SCROLL_TO_LAYERS = """() => {
  document.querySelector("#layers")?.scrollIntoView();
  return document.querySelector("section[aria-labelledby=layers] tbody tr") !== null;
}"""


def measure_pages(browser: Browser, pages: int = PAGES) -> list[Row]:
    """CPU time a second with so many pages open, beside none."""
    with serving() as service:
        streams = [trained(service, LAYERS, seed, f"run {seed}", STEPS_BEFORE) for seed in range(RUNS)]
        with training(streams):
            recordings = _listen_in(browser, service, streams[0])
            alone = [_cpu_share(service, ALONE_SECONDS)]
            opening = _open_pages(service, streams, recordings, pages)
            with ThreadPoolExecutor(1) as beside:  # Playwright has this thread's event loop
                with_pages, asked = beside.submit(asyncio.run, opening).result()
            alone.append(_cpu_share(service, ALONE_SECONDS))
    cost = [share - statistics.mean(alone) for share in with_pages]
    title = f"{pages} open pages while {RUNS} runs train at {STEPS_A_SECOND} steps a second"
    return [
        row(f"{title}: cost to the service", "% of a core", [statistics.mean(cost)], 25),
        row("the same training with nobody looking", "% of a core", alone, None),
        row(f"{title}: requests a second beside the streams", "1/s", [asked], None),
    ]


@contextmanager
def training(streams: list[Stream]) -> Iterator[None]:
    """All streams go on at their pace, in a thread."""
    ended = threading.Event()

    def train() -> None:
        beat = 0
        began = time.perf_counter()
        while not ended.wait(max(0.0, began + beat * SECONDS_A_CHUNK / len(streams) - time.perf_counter())):
            turn, place = divmod(beat, len(streams))
            before, after = (int(count * STEPS_A_SECOND * SECONDS_A_CHUNK) for count in (turn, turn + 1))
            streams[place].send(streams[place].body(after - before))
            if turn % 20 == 0:
                streams[place].beat()
            beat += 1

    thread = threading.Thread(target=train)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _listen_in(browser: Browser, service: Service, stream: Stream) -> list[Recording]:
    """What real pages ask at the same time: the overview, a run's charts, the same run scrolled to its layers."""
    with ExitStack() as stack:
        pages = [stack.enter_context(opened(browser, service, path)) for path in ("/", *[f"/runs/{stream.run_id}"] * 2)]
        notes = [_note(page, stream) for page in pages]
        pages[-1].wait_for_function(_SCROLL_TO_LAYERS)
        pages[0].wait_for_timeout((OPENING_SECONDS + RECORDED_SECONDS) * 1e3)
    assert any("/layers?" in path for at, path in notes[-1] if at > OPENING_SECONDS), "nobody looked at the layers"
    return [record(asked, OPENING_SECONDS, RECORDED_SECONDS) for asked in notes]


def _note(page: Page, stream: Stream) -> list[tuple[float, str]]:
    """Load a page once more; gives the list to which everything that it asks is added."""
    page.wait_for_selector("main h1, main table")
    began = time.perf_counter()
    asked: list[tuple[float, str]] = []

    def note(request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.path.startswith("/api/v1/") and parts.path != "/api/v1/live":
            path = relative(f"{parts.path}?{parts.query}".replace(stream.run_id, "{run_id}"), stream.next)
            asked.append((time.perf_counter() - began, path))

    page.on("request", note)
    page.reload(wait_until="commit")
    return asked


def _cpu_share(service: Service, seconds: float) -> float:
    began, before = time.perf_counter(), service.cpu_seconds()
    time.sleep(seconds)
    return 100 * (service.cpu_seconds() - before) / (time.perf_counter() - began)


async def _open_pages(
    service: Service, streams: list[Stream], recordings: list[Recording], pages: int
) -> tuple[list[float], float]:
    """The CPU share, looked at three times, and how many requests a second the pages made."""
    choose = random.Random(0)
    readers = []
    for number in range(pages):
        recording, stream = recordings[number % len(recordings)], streams[number % len(streams)]
        follows = "others=figures" if number % len(recordings) == 0 else f"runs={stream.run_id}&others=events"
        phase = choose.random() * recording.seconds
        readers.append(_Reader(service, follows, recording, phase, stream))
    streaming = [asyncio.create_task(reader.follow()) for reader in readers]
    for reader in readers:
        await reader.read_opening()
    reading = [asyncio.create_task(reader.read_later(MEASURED_SECONDS)) for reader in readers]
    shares = []
    for _ in range(3):
        shares.append(await asyncio.to_thread(_cpu_share, service, MEASURED_SECONDS / 3))
    await asyncio.gather(*reading)
    silent = [reader for reader in readers if reader.heard_bytes < 1000]
    assert not silent, f"{len(silent)} of the streams told nothing"
    for task in streaming:
        task.cancel()
    return shares, sum(reader.asked for reader in readers) / MEASURED_SECONDS


class _Reader:
    """One simulated page: its stream, and its readings over one connection that is kept."""

    def __init__(self, service: Service, follows: str, recording: Recording, phase: float, stream: Stream) -> None:
        self._service = service
        self._follows = follows
        self._recording = recording
        self._phase = phase
        self._stream = stream  # of the run that this page shows
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.asked = 0
        self.heard_bytes = 0

    async def follow(self) -> None:
        """Read the stream until cancelled, and throw it away."""
        reader, writer = await self._connect()
        try:
            await self._request(writer, f"/api/v1/live?{self._follows}&since=2")
            while part := await reader.read(65536):
                self.heard_bytes += len(part)
        finally:
            writer.close()

    async def read_opening(self) -> None:
        """What a page reads first."""
        for path in self._recording.opening:
            await self._get(path)

    async def read_later(self, seconds: float) -> None:
        """What it reads afterwards, when it would."""
        began = time.perf_counter()
        for due, path in self._recording.repeated(self._phase, seconds):
            await asyncio.sleep(max(0.0, began + due - time.perf_counter()))
            await self._get(path)
            self.asked += 1

    async def _get(self, path: str) -> None:
        path = absolute(path, self._stream.next).replace("{run_id}", self._stream.run_id)
        if self._connection is None:
            self._connection = await self._connect()
        reader, writer = self._connection
        try:
            await self._request(writer, path)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        except (asyncio.IncompleteReadError, ConnectionError):  # idle for so long that the service has closed it
            self._connection = None
            return await self._get(path)
        if " 200 " not in head.splitlines()[0]:
            raise RuntimeError(f"{path}: {head.splitlines()[0]}")
        length = next(int(line.split(":")[1]) for line in head.splitlines() if line.startswith("content-length"))
        await reader.readexactly(length)
        return None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        place = urlsplit(self._service.url)
        return await asyncio.open_connection(place.hostname, place.port)

    async def _request(self, writer: asyncio.StreamWriter, path: str) -> None:
        host = urlsplit(self._service.url).netloc
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {self._service.read_token}\r\n\r\n"
        writer.write(head.encode())
        await writer.drain()
