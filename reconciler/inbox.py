"""Where news waits for the next tick: reports, a new desired state, and what people asked for.

Putting something in is all that anyone outside the loop may do to it; the loop takes everything at once.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from definitions.desired import Desired
from reconciler.judgement import Report
from state.changes import Activated, SourceReported, TaskChange
from state.records import Identity, Uid
from state.triggers import TriggerChange


@dataclass(slots=True)
class News:
    """What came in since the last tick. `desired` None: nothing new from the source."""

    reports: list[Report] = field(default_factory=list)
    desired: Desired | None = None
    identities: list[Identity] = field(default_factory=list)  # whose files may say something new
    triggers: list[Identity] = field(default_factory=list)  # to decide about without further reason
    changed: set[str] = field(default_factory=set)  # the paths of the repository that revisions since have changed
    activation: Activated | None = None
    source: SourceReported | None = None
    tasks: list[Uid] = field(default_factory=list)  # to look at without further reason
    changes: list[TaskChange | TriggerChange] = field(
        default_factory=list
    )  # asked for by an operator, or due by retention


def in_one(earlier: Activated | None, later: Activated | None) -> Activated | None:
    """What two revisions change that come into force with one commit: each says only what is new since the one before."""
    if earlier is None or later is None:
        return later or earlier
    said = {(each.path, each.index): each for each in (*earlier.definitions, *later.definitions)}
    for key in later.removed:
        said.pop(key, None)
    gone = dict.fromkeys(key for key in (*earlier.removed, *later.removed) if key not in said)
    lengths = {**earlier.secret_lengths, **later.secret_lengths}
    return Activated(later.source, tuple(said.values()), tuple(gone), lengths)


class Inbox:
    """News of the next tick; used from one event loop only."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        """Held during a turn; who reads the store beside it holds it too, or would see a commit half done."""
        self._news = News()
        self._arrived = asyncio.Event()

    def __bool__(self) -> bool:
        return self._arrived.is_set()

    def report(self, report: Report) -> None:
        """What became of a call."""
        self._news.reports.append(report)
        self._arrived.set()

    def revise(
        self,
        desired: Desired,
        identities: list[Identity],
        activation: Activated | None,
        triggers: Iterable[Identity] = (),
        changed: Iterable[str] = (),
    ) -> None:
        """A revision is to be in force; `identities` are the task files that may say something new.

        `activation` is None for what was in force before this start. `changed` are paths of the repository.
        """
        self._news.desired, self._news.activation = desired, in_one(self._news.activation, activation)
        self._news.identities += identities
        self._news.triggers += triggers
        self._news.changed.update(changed)
        self._arrived.set()

    def tell(self, source: SourceReported) -> None:
        """How the source stands, without a revision."""
        self._news.source = source
        self._arrived.set()

    def ask(
        self, changes: list[TaskChange | TriggerChange], tasks: list[Uid], triggers: Iterable[Identity] = ()
    ) -> None:
        """Changes that were decided elsewhere, and the tasks and triggers to look at for them."""
        self._news.changes += changes
        self._news.tasks += tasks
        self._news.triggers += triggers
        self._arrived.set()

    def put_back(self, news: News) -> None:
        """News that could not be written comes again, before what arrived since."""
        later, self._news = self._news, news
        self._news.reports += later.reports
        self._news.identities += later.identities
        self._news.triggers += later.triggers
        self._news.changed |= later.changed
        self._news.tasks += later.tasks
        self._news.changes += later.changes
        self._news.desired = later.desired or news.desired
        self._news.activation = in_one(news.activation, later.activation)
        self._news.source = later.source or news.source
        self._arrived.set()

    def take(self) -> News:
        """Everything that has come in; the inbox is empty afterwards."""
        news, self._news = self._news, News()
        self._arrived.clear()
        return news

    async def wait(self, seconds: float | None) -> None:
        """Until something comes in or the time is over."""
        try:
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        except TimeoutError:
            return
