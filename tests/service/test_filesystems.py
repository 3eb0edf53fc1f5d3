"""A folder's file system is that of the innermost mount that holds it."""

from pathlib import Path

import pytest

from gradvitals_service.filesystems import network_filesystem
from gradvitals_service.serving import CannotServeError, hold_database

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb1 /home/ada/local xfs rw 0 0
server:/team /mnt/our\\040team cifs rw 0 0
none /scratch tmpfs rw 0 0
lustre@tcp:/fs /scratch lustre rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/var/lib", None),
        ("/home/ada", "nfs4"),
        ("/home", "nfs4"),
        ("/homes", None),
        ("/home/ada/local/gradvitals", None),
        ("/mnt/our team/x", "cifs"),
        ("/scratch/ada", "lustre"),
    ],
)
def test_the_innermost_and_last_mount_decides(tmp_path: Path, folder: str, kind: str | None) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    assert network_filesystem(Path(folder), mounts) == kind


def test_where_mounts_cannot_be_read_nobody_is_refused(tmp_path: Path) -> None:
    assert network_filesystem(tmp_path, tmp_path / "missing") is None


def test_sqlite_on_one_is_refused_in_words(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"server:/home {tmp_path} nfs4 rw 0 0\n")
    with (
        pytest.raises(CannotServeError, match=r"on nfs4, a network file system.*PostgreSQL"),
        hold_database(f"sqlite:///{tmp_path / 'gradvitals.db'}", mounts),
    ):
        pass
