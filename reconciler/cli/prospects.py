"""What a trigger that a revision brings means in time: when it fires next, and when it would have fired had it been there."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from definitions.library import Library
from reconciler.actions import Action
from reconciler.plan.due import schedule_of, spec_of, times
from state.triggers import TriggerSeen

_SHOWN = 3
_AGO = timedelta(days=5 * 366)


def prospects(actions: Iterable[Action], library: Library, now: datetime) -> Iterator[str]:
    """One sentence for each trigger that `actions` let begin, or begin anew."""
    for action in actions:
        for change in action.changes:
            if isinstance(change, TriggerSeen) and change.reason in {"Introduced", "Rescheduled", "Resumed"}:
                yield f"{action.subject}: {_prospect(change, library, now)}"


def _prospect(change: TriggerSeen, library: Library, now: datetime) -> str:
    file = library.trigger(*change.record.identity)
    spec = spec_of(file) if file else None
    slots = times(spec) if spec else None
    if spec is None or slots is None:
        return f"{schedule_of(spec) if spec else 'a trigger'}: fires at a later revision, not at this one"
    ahead, behind = slots.upcoming(now, _SHOWN), slots.past(now - _AGO, now, _SHOWN)
    said = f"fires at {_listed(ahead)}"
    return f"{said}; would have fired at {_listed(behind)}, and does not make up for that" if behind else said


def _listed(found: Iterable[datetime]) -> str:
    return ", ".join(f"{each:%Y-%m-%d %H:%M:%SZ}" for each in found) or "no time"
