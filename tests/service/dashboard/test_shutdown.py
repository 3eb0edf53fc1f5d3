"""Ctrl-C ends a service whose pages are open, at once and in order."""

import time
from pathlib import Path

from service.dashboard.open_page import OpenPage
from service_process import ServiceProcess


def test_ctrl_c_does_not_wait_for_open_pages(tmp_path: Path):
    service = ServiceProcess(tmp_path).start()
    pages = [OpenPage(service.port, {"Authorization": f"Bearer {service.tokens['read_token']}"}) for _ in range(3)]
    for page in pages:
        assert page.next() == ("", "listening")
    begin = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - begin < 3
    assert [page.next() for page in pages] == [None] * 3
    for page in pages:
        page.close()
    assert "Traceback" not in service.log.read_text()
