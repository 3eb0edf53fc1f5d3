"""The few functions of the client that no fault is injected at, or for which one warning is not the right number."""

from __future__ import annotations

WITHOUT_MODULES = frozenset(
    {
        "cli",  # a program of its own
        "integrations",  # a framework calls them, in trainings that take seconds
    }
)
# What the loop, torch or the interpreter itself calls. Behind each of these a fault is caught.
GUARDS = (
    "step_hook._Attached.__call__",
    "step_hook.StepHook._before",
    "step_hook.StepHook._see_to_gradients",
    "step_hook.StepHook._is_inside_another_step",
    "step_hook.StepHook._wrap",
    "step_hook.StepHook._wrap.measured",
    "step_hook.StepHook._after",
    "amp._WatchedStep.__call__",
    "monitor.Monitor._rescue_",
    "monitor.Monitor._guarded",
    "monitor.Monitor.clip_",
    "monitor.Monitor.collect",
    "monitor.Monitor.drain",
    "monitor.Monitor.close",
    "monitor.Monitor.last",
    "observer.Observer.observe",
    "observer.Observer.last",
    "observer.Observer.close",
    "run.Run._guarded",
    "run.Run._finish",
    "run.Run.__enter__",
    "run.Run.__exit__",
    "run.Run.finish",
    "run.Run.pause",
    "run.Run.log",
    "run.Run.saved",
    "run.Run.may_delete",
    "run.Run.step",
    "sender.Sender._work",
    "fused_step.FusedStep.take_back",  # all of them rely on it to leave nothing behind: it calls nothing of ours
)
TELLING = ("announce.*", "monitor.Monitor._tell_once", "monitor.Monitor._tell_fault", "run.Run._tell_fault")
TOLD_TWICE = (
    "logged._Sum.mean",  # for each name that cannot be read
    "logged.LoggedValues.__init__",  # by the run that logs, and by a monitor on a device
    "overhead.*",  # by a monitor, and by the run that sends its share
)
NEVER_REACHED = {
    "before the first step": (
        "*.__init__",
        "*.__init__.*",
        "agreement.*",
        "amp._watch_step",
        "clipping._as_limit",
        "clipping.choose_strategy",
        "clipping.untouched_below",
        "config.*",
        "elsewhere.*",
        "frames.Layout.layout_id",
        "fused_step.FusedStep.of",
        "identity.*",
        "layers.Selection.of",
        "layers.WatchedParameters.holds",
        "layers._globs",
        "layers._parameters_of",
        "layers.require_watchable",
        "monitor.Monitor.is_continued_by",
        "monitor.Monitor.optimizer_name",
        "monitor.monitor_of",
        "observer._as_limit",
        "route.*",
        "run.Run._add_monitor",
        "run.Run._first_step_of",
        "run.Run._name_monitor",
        "run.Run.observer",
        "run.Run.watch",
        "sender.Sender._deliver",
        "settings.*",
        "start.*",
        "summary.describe_watch",
        "transport._open_pool",
        "transport.is_loopback",
    ),
    "sparse gradients, which torch cannot clip; a service that is not there; more frames than are held": (
        "norms._plain",
        "pending.PendingFrames._sort.<lambda>",
        "transport._reason",
    ),
    "other ranks, a device or a CUDA graph": (
        "distributed.*",
        "fused_step._device",
        "monitor.Monitor._clip_into_graph_",
        "norms._device_norms",
        "norms._norms_on",
        "own_differences.OwnDifferences.*",
        "own_differences._Stream.*",
        "ring.*",
    ),
    "a compiled step, of which test_compile.py asks": (
        "step_hook.StepHook._after_compiled",
        "step_hook.StepHook._before_compiled",
        "step_hook._uncompiled",
    ),
    "a copy, a forked child, or the end of the interpreter": (
        "*.__reduce__",
        "run.Run._abandon",
        "run._abandon_open_runs",
        "run._unsent_copy",
        "run.close_open_runs",
    ),
    "asked by a person": (
        "*.__repr__",
        "checkpoints.CheckpointOutbox.waits",
        "clipping.clip_grad_norm_",
        "memory_transport.MemoryTransport.*",
        "monitor.Monitor.global_norm",
        "monitor.UnwatchedCopy.*",
        "monitor.Monitor.has_scaler",
        "monitor.Monitor.last_healthy_step",
        "monitor.Monitor.max_norm",
        "monitor.Monitor.max_norm.setter",
        "non_finite.name_non_finite",
        "run.Run.name",
        "run.Run.run_id",
        "run.Run.url",
    ),
    "after a fault, of which this is the second": (
        "amp.ScalerWatch._fault",
        "amp.ScalerWatch.unscale_",
        "clipping.*.clip_like_torch_",
        "monitor.Monitor._clip_by_torch_alone_",
        "monitor.Monitor._tell_fault",
        "monitor._all_finite",
        "norms.distinct",
        "run.Run._tell_fault",
    ),
}
