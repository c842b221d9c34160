"""The words of the control part of a task about single steps, and what can be remarked on one that does not count.

Each word is kept as its author wrote it. A remark that is final goes with the word and not with the step: what comes
later does not make true what was said too early or too late.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from state.records import Json, TaskRecord

STALE, REFUSED, PENDING = "ControlStale", "ControlRefused", "ControlPending"
"""The conditions of what does not fit: any more, at all, yet."""
VERBS = ("resolve", "skip", "approve", "retry", "expect")
"""In the order in which they are compared: an outcome first, so that one commit can call a lost attempt failed and
allow another one."""
CLAIMS = frozenset({"retry", "resolve"})
"""What says that something has happened."""
ANEW = "to say it anew, change its reason"
_EARLIER = "it was written for run "


@dataclass(frozen=True, slots=True)
class Said:
    """One word of a commit about one step."""

    path: str
    verb: str  # one of VERBS
    about: Mapping[str, Json]

    def __str__(self) -> str:
        return f"steps.{self.path}.{self.verb}"


@dataclass(frozen=True, slots=True)
class Remark:
    """Why a word does not count. `condition` is one of STALE, REFUSED, PENDING; `final`: until something else is said."""

    condition: str
    text: str
    final: bool = False


def sayings(control: Mapping[str, Json]) -> Iterator[Said]:
    """What the control part of a task says about steps, in the order in which it is compared: parents first."""
    steps = control.get("steps")
    for path, entry in sorted(steps.items()) if isinstance(steps, dict) else ():
        for verb in VERBS:
            if isinstance(entry, dict) and verb in entry:
                about = entry[verb]
                yield Said(path, verb, about if isinstance(about, dict) else {verb: about})


def dismissed(record: TaskRecord, said: Said) -> Remark | None:
    """The final remark on `said`, if there is one and it says the same as then."""
    match record.dismissed.get(str(said)):
        case [about, str(condition), str(text)] if about == said.about:
            return Remark(condition, text, final=True)
    return None


def dismissals(remarks: Iterable[tuple[Said, Remark]]) -> dict[str, Json]:
    """What a task keeps of the final ones among `remarks`."""
    return {str(said): [dict(said.about), each.condition, each.text] for said, each in remarks if each.final}


def written_before(control: Mapping[str, Json], last: TaskRecord) -> dict[str, Json]:
    """What a new run keeps of its control because it was there, in the same words, for the run `last` before it."""
    known = {str(said): said.about for said in sayings(last.control)}
    return dismissals(
        (said, _written_for(last, said)) for said in sayings(control) if known.get(str(said)) == said.about
    )


def written_for(control: Mapping[str, Json], run: int) -> dict[str, Json]:
    """The same where nothing is known of run number `run` but that it was."""
    return dismissals((said, Remark(STALE, f"{_EARLIER}{run}", final=True)) for said in sayings(control))


def of_its_run(control: Mapping[str, Json], record: TaskRecord) -> dict[str, Json]:
    """What of `control`, which asks for another run, goes for the run of `record`.

    Of what it says about steps that is what it said already when it asked for this one, and approvals, which name it.
    """
    known = {str(said): said.about for said in sayings(record.control)}
    steps: dict[str, dict[str, Json]] = {}
    for said in sayings(control):
        if said.verb == "approve" or known.get(str(said)) == said.about:
            about = said.about[said.verb] if said.verb in said.about else dict(said.about)
            steps.setdefault(said.path, {})[said.verb] = about
    rest = {name: value for name, value in control.items() if name != "steps"}
    return {**rest, "steps": cast("Json", steps)} if steps else rest


def _written_for(last: TaskRecord, said: Said) -> Remark:
    before = dismissed(last, said)
    again = before and before.text.startswith(_EARLIER)
    return before if before and again else Remark(STALE, f"{_EARLIER}{last.run}", final=True)
