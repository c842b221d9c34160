"""Why the state cannot be used, as few classes as there are things to do about it.

StateError
├── Locked        another controller holds the folder: end, or wait for it
├── TooNew        a newer release wrote the database: use that release
├── Damaged       the database is not what it should be: stop, keep it, restore a backup
├── Fenced        another controller took over: end at once, nothing was written
├── Full          no space: nothing was written, stop dispatching, the same store works once there is room
├── NotWritable   the folder cannot be written, or a write or fsync failed: end, the next start finds out
│   └── Unsuitable    its file system cannot be trusted with a database
└── Unreadable    a reader cannot read now: answer 503 and try again
"""

from state.phases import IllegalTransition


class StateError(Exception):
    """The state cannot be used as asked; the text says what to do."""


class Locked(StateError):
    """Another controller has this state folder."""


class TooNew(StateError):
    """The database was written by a newer release than this one."""


class Damaged(StateError):
    """The database is not one of ours or does not hold together. `what` is that alone, without what to do about it."""

    def __init__(self, text: str, what: str = "") -> None:
        super().__init__(text)
        self.what = what or text


class Fenced(StateError):
    """The epoch in the database is not ours any more, so nothing was written."""


class Full(StateError):
    """There is no space left; the transaction was rolled back and the store stays usable."""


class NotWritable(StateError):
    """The state folder cannot be written."""


class Unsuitable(NotWritable):
    """The file system of the state folder does not keep the promises that SQLite needs."""


class Unreadable(StateError):
    """A reader cannot read the database at the moment, or there is none yet."""


class AlreadyRan(IllegalTransition):
    """A uid runs at most once for ever, and this one did."""
