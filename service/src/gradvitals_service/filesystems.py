"""Tell whether a folder lies on a network file system, where SQLite's locks and syncs cannot be relied on."""

import os
from pathlib import Path

MOUNTS = Path("/proc/self/mounts")
NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "gpfs", "beegfs", "glusterfs", "panfs"}
NETWORK |= {"orangefs", "pvfs2", "wekafs", "fuse.ceph", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs"}


def network_filesystem(folder: Path, mounts: Path = MOUNTS) -> str | None:
    """The kind of network file system that an existing folder lies on; None on a disk, or where nobody can tell."""
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:  # not Linux
        return None
    found = ""
    longest = -1
    for line in lines:
        _, where, kind, *_ = line.split(" ")
        point = _unescaped(where)
        if _lies_in(os.path.realpath(folder), point) and len(point) >= longest:  # a later mount hides an earlier one
            found, longest = kind, len(point)
    return found if found in NETWORK else None


def _lies_in(folder: str, point: str) -> bool:
    return folder == point or folder.startswith(point.rstrip("/") + "/")


def _unescaped(word: str) -> str:
    """The kernel writes white space and backslashes as octal."""
    for character in " \t\n\\":
        word = word.replace(f"\\{ord(character):03o}", character)
    return word
