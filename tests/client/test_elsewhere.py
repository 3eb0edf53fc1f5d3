"""What clips elsewhere is refused by the name of its class, with the words that help; its package is never imported."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import gradvitals
from gradvitals.elsewhere import refuse_what_clips_elsewhere
from gradvitals.errors import ConfigurationError


def made_in(module, base, name="Made"):
    """An object of a class that says it comes from ``module``."""
    return type(name, (base,), {"__module__": module})()


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


class Plain:
    """Neither a module nor an optimizer of torch, as DeepSpeed's and Megatron's optimizers are."""


class TestDeepSpeed:
    def test_an_engine_is_refused_with_what_to_do_after_its_step(self):
        engine = made_in("deepspeed.runtime.engine", nn.Module, "DeepSpeedEngine")
        with pytest.raises(ConfigurationError, match=r"monitor.observe\(engine.get_global_grad_norm\(\)"):
            refuse_what_clips_elsewhere(engine, Plain())

    def test_its_optimizer_is_refused(self):
        optimizer = made_in("deepspeed.runtime.zero.stage_1_and_2", Plain, "DeepSpeedZeroOptimizer")
        with pytest.raises(ConfigurationError, match="DeepSpeed keeps the gradients to itself"):
            refuse_what_clips_elsewhere(nn.Linear(2, 2), optimizer)

    def test_a_class_made_from_an_engine_is_refused(self):
        engine = type(made_in("deepspeed.runtime.engine", nn.Module, "DeepSpeedEngine"))
        with pytest.raises(ConfigurationError, match="DeepSpeed"):
            refuse_what_clips_elsewhere(made_in("mine", engine), Plain())

    def test_its_kernels_are_optimizers_like_any_other(self):
        model = nn.Linear(2, 2)
        kernel = type("FusedAdam", (torch.optim.Adam,), {"__module__": "deepspeed.ops.adam.fused_adam"})
        refuse_what_clips_elsewhere(model, kernel(model.parameters()))

    def test_watch_says_so_before_anything_else(self):
        engine = made_in("deepspeed.runtime.engine", nn.Module, "DeepSpeedEngine")
        with gradvitals.init("tests", mode="disabled") as run, pytest.raises(ConfigurationError, match="DeepSpeed"):
            run.watch(engine, Plain(), max_norm=1.0)


class TestMegatron:
    def test_its_optimizer_is_refused(self):
        optimizer = made_in("megatron.core.optimizer.distrib_optimizer", Plain, "DistributedOptimizer")
        with pytest.raises(ConfigurationError, match="Megatron's optimizer clips in its own step"):
            refuse_what_clips_elsewhere(nn.Linear(2, 2), optimizer)

    def test_a_module_of_a_similar_name_is_not_meant(self):
        refuse_what_clips_elsewhere(nn.Linear(2, 2), made_in("megatronic", Plain))


class TestFirstFSDP:
    @staticmethod
    def wrapped(strategy):
        kind = type(
            "FullyShardedDataParallel",
            (nn.Sequential,),
            {"__module__": "torch.distributed.fsdp.fully_sharded_data_parallel"},
        )
        inner = kind(nn.Linear(2, 2))
        inner.sharding_strategy = type("Strategy", (), {"name": strategy})
        return nn.Sequential(inner)

    @pytest.mark.parametrize("strategy", ["FULL_SHARD", "SHARD_GRAD_OP", "HYBRID_SHARD"])
    def test_is_refused_wherever_it_is_in_the_model(self, strategy):
        model = self.wrapped(strategy)
        with pytest.raises(ConfigurationError, match=r"use torch's fully_shard \(FSDP2\)"):
            refuse_what_clips_elsewhere(model, sgd(model))

    def test_is_welcome_where_nothing_is_split(self):
        model = self.wrapped("NO_SHARD")
        refuse_what_clips_elsewhere(model, sgd(model))

    def test_the_names_are_those_of_the_installed_torch(self):
        from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy

        from gradvitals.elsewhere import FSDP1

        assert (FullyShardedDataParallel.__module__, FullyShardedDataParallel.__name__) == FSDP1
        assert ShardingStrategy.NO_SHARD.name == "NO_SHARD"


def test_a_plain_training_is_welcome():
    model = nn.Linear(2, 2)
    refuse_what_clips_elsewhere(model, sgd(model))
