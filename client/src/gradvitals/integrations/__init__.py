"""Callbacks for frameworks that own the training loop. Each module imports its framework; nothing else imports them.

Accelerate needs none: its loop is the user's own, and ``watch`` looks through its optimizer (``docs/accelerate.md``).
"""
