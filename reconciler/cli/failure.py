"""What a command says when it cannot do what was asked: one line, with what to do about it."""

from reconciler.errors import ReconcilerError

DONE = 0
FAILED = 1
CHANGES = 2  # Terraform's: the command worked, and there is something to do


class Failure(ReconcilerError):
    """A foreseen end of a command. The text says what is wrong and what to do; it is printed without a traceback."""
