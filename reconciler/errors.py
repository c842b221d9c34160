"""Errors are instructions to the loop: each says by its place in the tree what must happen next.

    ReconcilerError
    |-- StateError          the state folder cannot be used: say so and end (they live in state.store: Locked, TooNew, Damaged, Fenced)
    |-- SettingsError       a setting is wrong: say which, with its file and line, and end
    `-- Refusal             policy forbids this call: fail the attempt, name the setting that would allow it

What a driver meets at its target is never an exception: it is an Observation.
"""


class ReconcilerError(Exception):
    """The root: an error that the product foresees."""


class SettingsError(ReconcilerError):
    """A setting is missing, unknown or wrong; the text names it and says what would be right."""


class Refusal(ReconcilerError):
    """Policy does not allow a call. `code` is for machines (`E-POLICY`, `E-HTTP-HOST`), the text names the setting."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
