"""Train small networks whose troubles are known, and score detectors on the traces.

``python -m benchmarks.traces --out DIR`` trains and labels, ``.score`` scores detections, ``.leave_out`` asks how much
a score owes to the constants having been chosen in view of the runs, and ``.simulate`` counts alarms in very long runs.
The format of a trace and the rules of labelling and scoring are those of ``docs/detection.md``.
"""
