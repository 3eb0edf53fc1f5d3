"""What gradvitals raises.

Into the training loop come only ConfigurationError, from ``init`` and ``watch``, and NonFiniteGradientError, where the
user chose a policy that raises. A DeliveryError stays on the sender's thread: it decides what happens to a chunk next.

    GradvitalsError
    ├── ConfigurationError (also a ValueError)
    ├── NonFiniteGradientError (also a RuntimeError)
    └── DeliveryError
        ├── ServiceUnavailableError    try again later
        ├── NotDeclaredError           declare run, attempt and layout again, then send
        ├── OutOfOrderError            send again from the service's count
        ├── ChunkRefusedError          trying again cures nothing: give the chunk up
        └── SendingStoppedError        nothing will be accepted: stop, and tell the person why
"""

from __future__ import annotations


class GradvitalsError(Exception):
    """Base class: ``except GradvitalsError`` catches nothing foreign."""


class ConfigurationError(GradvitalsError, ValueError):
    """A setting is missing, not understood or contradicts another one."""


class NonFiniteGradientError(GradvitalsError, RuntimeError):
    """A gradient was NaN or infinite, and the policy says raise."""


class DeliveryError(GradvitalsError):
    """Something did not reach the service."""


class ServiceUnavailableError(DeliveryError):
    """No answer, a timeout, an overload or nonsense: worth another attempt, after ``retry_after`` seconds if given."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotDeclaredError(DeliveryError):
    """The service does not know the run, the attempt or the layout (any more)."""


class OutOfOrderError(DeliveryError):
    """The service holds ``next`` frames of the stream, which is fewer than the chunk presumes."""

    def __init__(self, message: str, next: int) -> None:
        super().__init__(message)
        self.next = next


class ChunkRefusedError(DeliveryError):
    """The service understood the chunk and said no."""


class SendingStoppedError(DeliveryError):
    """The service will not take anything from this run: a wrong token, another project's run, another wire version."""
