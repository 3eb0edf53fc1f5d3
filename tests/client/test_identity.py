"""Which run, which rank."""

from __future__ import annotations

import subprocess
import sys
import uuid

import pytest

from gradvitals import ConfigurationError
from gradvitals.identity import default_name, find_launch, find_rank, find_run_id, name_to_uuid, uuid7


def find(run_id=None, *, world_size=1, **environment) -> uuid.UUID:
    return find_run_id(run_id, "project", rank=0, world_size=world_size, environment=environment)


class TestUUID7:
    def test_carries_its_time_version_and_variant(self):
        made = uuid7(1790000000.123)
        assert made.int >> 80 == 1790000000123
        assert (made.version, made.variant) == (7, uuid.RFC_4122)

    def test_later_ones_sort_later(self):
        assert uuid7(1790000000.001) < uuid7(1790000000.002)

    def test_no_two_are_equal(self):
        assert len({uuid7(1790000000.0) for _ in range(1000)}) == 1000


class TestRunId:
    def test_a_uuid_stays_itself(self):
        given = "0199a3c2-7d10-7abc-8def-000000000001"
        assert str(find(given)) == given
        assert str(find(given.upper())) == given

    def test_a_name_is_the_same_run_each_time_and_another_one_in_another_project(self):
        assert name_to_uuid("night", "a") == name_to_uuid("night", "a")
        assert name_to_uuid("night", "a") != name_to_uuid("night", "b")
        assert name_to_uuid("night", "a").version == 5

    def test_the_name_of_a_run_never_changes_its_id(self):
        assert str(name_to_uuid("night", "gru-lm")) == "bfec0dca-ba41-586e-b605-1665dc36b9a6"

    @pytest.mark.parametrize("name", ["", "x" * 129, 7])
    def test_a_name_has_1_to_128_characters(self, name):
        with pytest.raises(ConfigurationError, match=r"^run_id is"):
            find(name)

    def test_the_argument_wins_over_everything(self):
        assert find("a", GRADVITALS_RUN_ID="b", TORCHELASTIC_RUN_ID="c") == name_to_uuid("a", "project")

    def test_then_the_variable(self):
        assert find(GRADVITALS_RUN_ID="b", TORCHELASTIC_RUN_ID="c") == name_to_uuid("b", "project")

    def test_then_torchrun_then_slurm(self):
        assert find(TORCHELASTIC_RUN_ID="c", SLURM_JOB_ID="1") == find(TORCHELASTIC_RUN_ID="c")
        assert find(TORCHELASTIC_RUN_ID="none", SLURM_JOB_ID="1") == find(SLURM_JOB_ID="1")

    def test_tasks_of_a_slurm_array_are_runs_of_their_own(self):
        first = find(SLURM_JOB_ID="101", SLURM_ARRAY_JOB_ID="100", SLURM_ARRAY_TASK_ID="1")
        second = find(SLURM_JOB_ID="102", SLURM_ARRAY_JOB_ID="100", SLURM_ARRAY_TASK_ID="2")
        assert first != second

    def test_else_a_new_one(self):
        assert find() != find()
        assert find().version == 7

    def test_several_ranks_that_cannot_agree_are_told_which_variable_to_set(self):
        with pytest.raises(ConfigurationError, match=r"WORLD_SIZE is 4.*GRADVITALS_RUN_ID"):
            find(world_size=4)


class TestRank:
    def test_the_environment_says(self):
        assert find_rank({"RANK": "3", "WORLD_SIZE": "8"}) == (3, 8)
        assert find_rank({}) == (0, 1)

    @pytest.mark.parametrize(
        ("environment", "named"), [({"RANK": "x"}, "RANK"), ({"RANK": "2", "WORLD_SIZE": "2"}, "below the size")]
    )
    def test_nonsense_is_named(self, environment, named):
        with pytest.raises(ConfigurationError, match=named):
            find_rank(environment)


class TestLaunch:
    def test_ranks_started_together_share_one_and_a_restart_has_another(self):
        run = uuid.UUID(int=1)
        first = find_launch(run, world_size=2, environment={"TORCHELASTIC_RESTART_COUNT": "0"})
        same = find_launch(run, world_size=2, environment={"TORCHELASTIC_RESTART_COUNT": "0"})
        restarted = find_launch(run, world_size=2, environment={"TORCHELASTIC_RESTART_COUNT": "1"})
        assert first == same != restarted


def test_the_default_name_is_the_scripts(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/home/ada/train_gru.py", "--lr", "1"])
    assert default_name(1790000000.0).startswith("train_gru, 2026-")


def test_ranks_agree_through_the_store_of_torch_distributed():
    """Two processes that have nothing in common but a process group find the same run."""
    script = """if True:
        import os, sys
        os.environ.update(RANK=sys.argv[1], WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=sys.argv[2])
        import torch.distributed as distributed
        distributed.init_process_group("gloo")
        from gradvitals.identity import find_rank, find_run_id
        rank, size = find_rank({})
        print(rank, size, find_run_id(None, "p", rank=rank, world_size=size, environment={}))
        distributed.barrier()
        distributed.destroy_process_group()
    """
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    ranks = [
        subprocess.Popen([sys.executable, "-c", script, str(rank), port], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    said = [rank.communicate(timeout=120)[0].split() for rank in ranks]
    assert [words[:2] for words in said] == [["0", "2"], ["1", "2"]]
    assert said[0][2] == said[1][2]
