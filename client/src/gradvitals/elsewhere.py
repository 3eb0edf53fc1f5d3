"""Refuse, in words that say what to do instead, trainings whose gradients are clipped where no hook sees them.

They are recognised by the modules of their classes; none of their packages is imported. Watching them would be worse
than not to: gradients are missing there, are only a part that nothing says is one, or are clipped a second time.
"""

from __future__ import annotations

from gradvitals.errors import ConfigurationError

FSDP1 = ("torch.distributed.fsdp.fully_sharded_data_parallel", "FullyShardedDataParallel")

OBSERVE = "use monitor = run.observer(max_norm=...) in its place, and after each step monitor.observe({norm})"


def refuse_what_clips_elsewhere(model: object, optimizer: object) -> None:
    """Raise ConfigurationError for DeepSpeed, Megatron and torch's first FSDP."""
    if _comes_from("deepspeed.runtime", model, optimizer):  # its kernels in deepspeed.ops are optimizers like any other
        raise ConfigurationError(
            "DeepSpeed keeps the gradients to itself and clips them in engine.step() (gradient_clipping in its "
            "configuration): "
            + OBSERVE.format(norm="engine.get_global_grad_norm(), skipped=not engine.was_step_applied()")
        )
    if _comes_from("megatron", optimizer):
        raise ConfigurationError(
            "Megatron's optimizer clips in its own step (clip_grad in its configuration) and returns the norm: "
            + OBSERVE.format(norm="grad_norm, skipped=not update_successful")
        )
    if any(_is_fsdp1(module) for module in getattr(model, "modules", tuple)()):
        raise ConfigurationError(
            "FullyShardedDataParallel gives each rank a piece of all gradients as if it were the whole, so that every "
            "rank would clip by another norm: use torch's fully_shard (FSDP2), which is measured and clipped here, or "
            "clip with model.clip_grad_norm_: " + OBSERVE.format(norm="the norm that it returned")
        )


def _comes_from(package: str, *objects: object) -> bool:
    """Whether the class of one of these, or a class that it is made from, lies in the package."""
    modules = (kind.__module__ for thing in objects for kind in type(thing).__mro__)
    return any(module == package or module.startswith(f"{package}.") for module in modules)


def _is_fsdp1(module: object) -> bool:
    """Whether this is a module of torch's first FSDP that really splits its parameters."""
    if not any((kind.__module__, kind.__name__) == FSDP1 for kind in type(module).__mro__):
        return False
    return getattr(getattr(module, "sharding_strategy", None), "name", None) != "NO_SHARD"
