"""The few functions of the client that no fault is injected at, or for which one warning is not the right number."""

from __future__ import annotations

WITHOUT_MODULES = frozenset(
    {
        "cli",  # a program of its own
        "integrations",  # a framework calls them, in trainings that take seconds
        "status",  # a command's
        "leftovers",  # a command's, and of a thread with a guard of its own: test_syncing.py injects there
        "syncing",
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
    "spooled.SpooledFrames._work",
    "fused_step.FusedStep.take_back",  # all of them rely on it to leave nothing behind: it calls nothing of ours
)
# Which of these a training over HTTP comes to depends on how its threads take turns.
BY_CHANCE = (
    "backlog.Backlog._holds",
    "backlog.Backlog._only_lost",
    "backlog.Backlog.rewind",
    "backlog.Stream.lose.*",
    "backlog._from",
    "backlog._outside",
    "frames._joined_scalar",
    "frames._rows",
    "frames.recut",
    "spooled.SpooledFrames.rewind",
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
        "sender.Sender.is_closing",
        "sender.Sender.start",
        "spooled.SpooledFrames.start",
        "step_hook._uncompiled",
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
        "transport.what_to_install",
    ),
    "a spool that is full, rewound or read again, or a disk that fails, of which test_spooled.py asks": (
        "backlog.Backlog.adopt",
        "backlog.Backlog.damaged",
        "backlog.Backlog.drop",
        "backlog.Backlog.release",
        "backlog.Backlog.replaced",
        "backlog.Backlog.sent_elsewhere",
        "frames.without_layers",
        "segments.Records.__iter__",
        "segments._length_at",
        "segments.read_file",
        "segments.read_record",
        "segments.record_at",
        "spool.Spool.thin",
        "spooled.SpooledFrames._drop",
        "spooled.SpooledFrames._make_room",
        "spooled.SpooledFrames._tell_memory_only",
        "spooled.SpooledFrames._thin",
    ),
    "a sender without a thread, which no training has": (
        "frames.read_head",
        "sender.Sender.describe_as",
        "sender.Sender.is_delivered",
        "sender.Sender.problem",
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
