"""Work out which run this process belongs to, and as which rank.

Ranks and restarts of one job must come to the same run without asking a service. What they share is, in this order: the
``run_id`` given, GRADVITALS_RUN_ID, torchrun's or Slurm's id of the job, and torch.distributed once it is initialised.
Torch is never imported for this: when it is not in ``sys.modules``, it cannot be initialised.
"""

from __future__ import annotations

import itertools
import os
import secrets
import sys
import time
import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from gradvitals.errors import ConfigurationError

NAMESPACE = uuid.UUID("5b0c2a52-9d0e-5f0b-8a51-0d6f1c1d7a11")  # of every UUIDv5 that the client makes; never change it
RUN_ID_CHARACTERS = 128
AGREEMENT_SECONDS = 60

_agreements = itertools.count()


def uuid7(now_seconds: float | None = None) -> uuid.UUID:
    """A UUID that sorts by the time it was made in (RFC 9562), from the system's randomness, not from ``random``."""
    milliseconds = int((time.time() if now_seconds is None else now_seconds) * 1000) & ((1 << 48) - 1)
    random_bits = secrets.randbits(74)
    value = milliseconds << 80 | 0x7 << 76 | (random_bits >> 62) << 64 | 0b10 << 62 | random_bits & ((1 << 62) - 1)
    return uuid.UUID(int=value)


def find_rank(environment: Mapping[str, str]) -> tuple[int, int]:
    """``(rank, world_size)``, as torch.distributed says where it is initialised, else as the environment says."""
    distributed = _initialised_distributed()
    if distributed is not None:
        return int(distributed.get_rank()), int(distributed.get_world_size())
    rank, world_size = _integer(environment, "RANK", 0), _integer(environment, "WORLD_SIZE", 1)
    if not 0 <= rank < world_size:
        raise ConfigurationError(f"RANK is {rank} and WORLD_SIZE is {world_size}: the rank must be below the size")
    return rank, world_size


def find_run_id(
    run_id: str | None, project: str, *, rank: int, world_size: int, environment: Mapping[str, str]
) -> uuid.UUID:
    """The run's id: a UUID as it is, any other name as a UUIDv5 with the project, else a new UUIDv7."""
    named = run_id if run_id is not None else environment.get("GRADVITALS_RUN_ID") or None
    if named is not None:
        return name_to_uuid(named, project, field="run_id" if run_id is not None else "GRADVITALS_RUN_ID")
    job = find_job(environment)
    if job is not None:
        return name_to_uuid(job, project, field="the job's id")
    if world_size == 1:
        return uuid7()
    distributed = _initialised_distributed()
    if distributed is None:
        raise ConfigurationError(
            f"WORLD_SIZE is {world_size}, but nothing says which run the ranks share: set GRADVITALS_RUN_ID to the "
            "same value on every rank, pass run_id=, or call init after torch.distributed.init_process_group"
        )
    return _agree(distributed, rank)


def find_job(environment: Mapping[str, str]) -> str | None:
    """The id that a launcher gave all processes of this job, also after a restart."""
    torchelastic = environment.get("TORCHELASTIC_RUN_ID", "")
    if torchelastic and torchelastic != "none":  # torchrun's word for "no --rdzv-id given"
        return f"torchelastic-{torchelastic}"
    slurm = environment.get("SLURM_ARRAY_JOB_ID") or environment.get("SLURM_JOB_ID")
    if slurm:
        task = environment.get("SLURM_ARRAY_TASK_ID")
        return f"slurm-{slurm}" + (f"-{task}" if task else "")
    return None


def find_launch(run_id: uuid.UUID, *, world_size: int, environment: Mapping[str, str]) -> uuid.UUID:
    """The id that attempts share which were started together."""
    if world_size == 1:
        return uuid7()
    restarts = [environment.get(name, "0") for name in ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")]
    return uuid.uuid5(NAMESPACE, "\0".join(["launch", str(run_id), *restarts]))


def name_to_uuid(name: str, project: str, *, field: str = "run_id") -> uuid.UUID:
    """A UUID written out stays itself; any other name of 1 to 128 characters becomes a UUIDv5 with the project."""
    if not isinstance(name, str) or not 1 <= len(name) <= RUN_ID_CHARACTERS:
        raise ConfigurationError(f"{field} is {name!r}, expected a string of 1 to {RUN_ID_CHARACTERS} characters")
    try:
        parsed = uuid.UUID(name)
    except ValueError:
        parsed = None
    if parsed is not None and str(parsed) == name.lower():
        return parsed
    return uuid.uuid5(NAMESPACE, f"{project}\0{name}".encode("utf-8", "replace").decode("utf-8"))


def default_name(started_at: float) -> str:
    """A name that a person recognises: the script's and when it started."""
    script = os.path.basename(sys.argv[0] if sys.argv else "")
    stem = os.path.splitext(script)[0] if script not in ("", "-c", "-m") else "run"
    return f"{stem[:200]}, {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(started_at))}"


def _initialised_distributed() -> Any | None:
    """torch.distributed when this process imported and initialised it."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed


def _agree(distributed: Any, rank: int) -> uuid.UUID:
    """Let rank 0 choose and the others read it from the process group's store.

    Not a broadcast: where only rank 0 calls ``init``, which is common, a collective would wait for ever.
    """
    key = f"gradvitals/run_id/{next(_agreements)}"
    try:
        store = distributed.distributed_c10d._get_default_store()
        if rank == 0:
            store.set(key, str(uuid7()))
        store.wait([key], timedelta(seconds=AGREEMENT_SECONDS))
        return uuid.UUID(store.get(key).decode())
    except Exception as error:
        raise ConfigurationError(
            "the ranks could not agree on a run through torch.distributed: set GRADVITALS_RUN_ID to the same value on "
            f"every rank, or call init on rank 0 as well ({error})"
        ) from error


def _integer(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    try:
        return int(text)
    except ValueError:
        raise ConfigurationError(f"{name} is {text!r}, expected an integer") from None
