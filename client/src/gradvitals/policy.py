"""What becomes of a step whose gradients are not finite, as the person chose with ``on_non_finite``.

"keep" steps as torch would, "skip" leaves weights and optimizer as they are, "raise" ends the step with an error.
Decisions are made from numbers on the host; nothing here measures, clips or waits for a device.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import Enum

from torch import Tensor

from gradvitals.errors import ConfigurationError, NonFiniteGradientError

MOST_SKIPS = 20
WINDOW = 200  # steps, this one included, in which so many may be skipped


class Action(Enum):
    """What to do with a step."""

    STEP = "step"
    SKIP = "skip"
    RAISE = "raise"


_STEP = Action.STEP  # looked up once: an Enum's member costs as much as the rest of a healthy step's decision


class NonFinitePolicy:
    """Decides on each step, and remembers what it decided. Raises ConfigurationError for a policy it does not know.

    A training that needs more than ``MOST_SKIPS`` skips within ``WINDOW`` steps is not recovering, so it is ended then.
    """

    __slots__ = ("_skipped", "last_healthy_step", "on_non_finite")

    def __init__(self, on_non_finite: str = "keep") -> None:
        if on_non_finite not in ("keep", "skip", "raise"):
            raise ConfigurationError(f"on_non_finite must be 'keep', 'skip' or 'raise', not {on_non_finite!r}")
        self.on_non_finite = on_non_finite
        self.last_healthy_step: int | None = None  # the newest one with a finite norm; weights are clean up to it
        self._skipped: deque[int] = deque(maxlen=MOST_SKIPS)

    def judge(self, step: int, finite: bool) -> Action:
        """Decide on one step, by whether its global norm is finite. Not for a step that a GradScaler skips itself."""
        if finite:
            self.last_healthy_step = step
            return _STEP
        if self.on_non_finite == "keep":
            return _STEP
        if self.on_non_finite == "raise" or self._too_many(step):
            return Action.RAISE
        self._skipped.append(step)
        return Action.SKIP

    def error(self, step: int, global_norm: float, where: str) -> NonFiniteGradientError:
        """What to raise on a step that ``judge`` ended; ``where`` names the layers."""
        message = f"the gradient norm of step {step} is {global_norm}: not finite in {where}"
        if self.on_non_finite == "skip":
            message += (
                f". {MOST_SKIPS} of the last {WINDOW} steps were skipped for that already, so skipping does not cure it"
                f"; {self._healthy()}"
            )
        return NonFiniteGradientError(message)

    def _too_many(self, step: int) -> bool:
        return len(self._skipped) == MOST_SKIPS and step - self._skipped[0] < WINDOW

    def _healthy(self) -> str:
        if self.last_healthy_step is None:
            return "no step has been healthy so far"
        return f"the last healthy step was {self.last_healthy_step}"


class SetAside:
    """Hides gradients from an optimizer for one step: where there is no gradient, nothing is decayed or counted.

    ``restore`` belongs into the post-hook. It does not run where the step raises, so each evaluation of a step begins
    with ``forget``: by then the gradients that were hidden are of the past, and bad ones at that.
    """

    __slots__ = ("_hidden",)

    def __init__(self) -> None:
        self._hidden: list[tuple[Tensor, Tensor]] = []

    def hide(self, parameters: Iterable[Tensor]) -> None:
        """Take the gradients off ``parameters``; what was hidden before is forgotten."""
        self._hidden = [(parameter, parameter.grad) for parameter in parameters if parameter.grad is not None]
        for parameter, _ in self._hidden:
            parameter.grad = None

    def restore(self) -> None:
        """Put them back, unless a backward pass has made new ones since; harmless when done twice."""
        if not self._hidden:
            return
        hidden, self._hidden = self._hidden, []
        if all(parameter.grad is None for parameter, _ in hidden):
            for parameter, gradient in hidden:
                parameter.grad = gradient

    def forget(self) -> None:
        """Leave them off, for a step that raised."""
        if self._hidden:
            self._hidden = []
