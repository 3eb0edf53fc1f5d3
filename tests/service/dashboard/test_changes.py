"""Runs that have changed, each once, longest waiting first."""

import asyncio
import threading

from gradvitals_service.dashboard.changes import Changes


class TestChanges:
    def test_names_a_run_once_however_often_it_changed(self):
        changes = Changes()
        for run_id in "abaa":
            changes.note([run_id])
        assert asyncio.run(changes.take(10)) == ["a", "b"]

    def test_leaves_the_rest_for_the_next_time(self):
        changes = Changes()
        changes.note("abc")
        assert asyncio.run(changes.take(2)) == ["a", "b"]
        assert asyncio.run(changes.take(2)) == ["c"]

    def test_wakes_a_reader_that_waits_from_another_thread(self):
        async def wait_for_it() -> list[str]:
            changes = Changes()
            waiting = asyncio.ensure_future(changes.take(10))
            await asyncio.sleep(0)
            writer = threading.Thread(target=changes.note, args=["a"])
            writer.start()
            taken = await asyncio.wait_for(waiting, 5)
            writer.join()
            return taken

        assert asyncio.run(wait_for_it()) == ["a"]
