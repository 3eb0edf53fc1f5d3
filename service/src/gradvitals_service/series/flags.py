"""The bits of a frame's flags that the service knows; docs/wire.md. Others are kept and ignored."""

NON_FINITE = 1  # the global norm is NaN or Inf
LOSS = 2  # the loss was logged, be it NaN
SKIPPED_STEP = 4  # the optimizer did not step
ALREADY_CLIPPED = 8  # somebody clipped before the client measured
