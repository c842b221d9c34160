"""What `reconciler run` says to the person who started it: one line per change of state, and never just silence."""

from pathlib import Path

import structlog

from reconciler.cli.explanation import said, short
from reconciler.cli.render import MARKS, inert, now_utc
from reconciler.settings import SourceSettings
from reconciler.shortening import shortened
from state.phases import PUBLIC, Phase, StepPhase, TaskPhase
from state.reader import Reader
from state.records import Event, TaskSnapshot, TriggerRecord
from state.store import Committed

log = structlog.get_logger("reconciler.run")

_KINDS: dict[str, type[Phase]] = {"task": TaskPhase, "step": StepPhase}
_ORDER = tuple(MARKS)


class Announcer:
    """Prints what commits change, and once that there is nothing to do. Give it to the controller as `told`."""

    def __init__(self, state: Path, source: SourceSettings, *, steps: bool = True) -> None:
        self._state = state
        self._source = source
        self._subjects = frozenset(_KINDS) if steps else frozenset({"task"})
        self._mute = False
        self._idle_said = False

    def __call__(self, committed: Committed) -> None:
        """One line per task, and per step where they are wanted, whose public state is another one than before."""
        for event in committed.events:
            line = _line(event, committed.snapshot.tasks.get(event.uid)) if event.subject in self._subjects else ""
            line = line or _of_trigger(event, committed.snapshot.triggers.get(event.uid))
            if line:
                self._say(f"{now_utc():%H:%M:%S}  {line}")
        if not self._idle_said:
            self._idle_said = bool(committed.events) or self._say_nothing_to_do()

    def conclude(self) -> None:
        """How many tasks there are in each state, and what a person has to mend before there are more."""
        reader = Reader(self._state)
        counts: dict[str, int] = {}
        for (_, state), count in reader.counts().items():
            counts[state.value] = counts.get(state.value, 0) + count
        rejected = sum(count for (_, accepted), count in reader.definition_counts().items() if not accepted)
        reader.close()
        found = [f"{counts[state]} {state}" for state in _ORDER if state in counts]
        if rejected:
            found.append(f"{rejected} rejected (reconciler get definitions --rejected)")
        if found:
            self._say(f"idle: {', '.join(found)}")

    def _say_nothing_to_do(self) -> bool:
        """Once the first revision is in force: says so if it wants no task. Whether there is a revision."""
        reader = Reader(self._state)
        found = next((each for each in reader.sources() if each.name == self._source.name and each.commit), None)
        wanted = sum(count for (kind, _), count in reader.definition_counts().items() if kind == "Task")
        reader.close()
        if found and not wanted:
            branch, commit = found.ref.removeprefix("refs/heads/"), short(found.commit)
            tip = f"{branch} ({commit})" if branch else commit
            self._say(f"nothing to do: 0 task files under {self._source.path} at {tip}")
        return found is not None

    def _say(self, line: str) -> None:
        """One line; a reader that is gone, or a full disk behind it, ends the telling and never the controller."""
        if self._mute:
            return
        try:
            print(line, flush=True)
        except OSError as error:
            self._mute = True
            log.warning("what happens is not told any more", error=error.strerror)


def _of_trigger(event: Event, trigger: TriggerRecord | None) -> str:
    """What became of a trigger or one of its slots; what fired tells of itself as a task, so "" for that."""
    if trigger is None or event.after == "fired":
        return ""
    slot = f" {event.path}" if event.path else ""
    words = shortened(said(event.reason, event.message))
    return inert(f"~ trigger {trigger.namespace}/{trigger.name}{slot}  {event.after}  {words}".rstrip())


def _line(event: Event, task: TaskSnapshot | None) -> str:
    """What an event changes for the public, "" if nothing."""
    kind = _KINDS.get(event.subject)
    if kind is None or task is None:
        return ""
    before = PUBLIC[kind(event.before)] if event.before else None
    after = PUBLIC[kind(event.after)]
    if before is after:
        return ""
    name = "/".join(task.record.identity) + (f" {event.path}" if event.path else "")
    words = shortened(said(event.reason, event.message))
    return inert(f"{MARKS[after]} {name}  {after}  {words}".rstrip())
