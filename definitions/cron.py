"""What a cron text means on the wall clock: the one door to APScheduler, whose triggers know the calendar.

Only its calendar is used, in UTC, as if no clock were ever put forward or back; what a zone makes of it is the matter of
`slots`. APScheduler counts weekdays from Monday and knows no 7, so numbers become names here before it sees them;
otherwise `0 8 * * 1` would silently mean Tuesday. A day that no month has is found by looking at one leap year's
months, because searching for its next occurrence takes a tenth of a second.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_PART = re.compile(r"(\*|[0-9]+|[a-z]{3})(?:-([0-9]+|[a-z]{3}))?(?:/([0-9]+))?")
_LEAP_YEAR = 2028


@dataclass(frozen=True, slots=True)
class Calendar:
    """The wall-clock times of five cron fields. `fixed`: the hour field names hours (no `*`), as in `30 2 * * *`."""

    triggers: tuple[Any, ...]
    fixed: bool

    def next(self, wall: datetime) -> datetime | None:
        """The first time at or after `wall`, both without a zone; None if there is none before the year 10000."""
        found = [trigger.get_next_fire_time(None, wall.replace(tzinfo=UTC)) for trigger in self.triggers]
        return min((each.replace(tzinfo=None) for each in found if each), default=None)


@lru_cache(maxsize=1024)
def calendar(text: str) -> Calendar:
    """The calendar of the five fields of `text` (minute hour day month weekday, one blank between). Raises ValueError.

    With day of month and weekday both restricted, either is enough, as cron has it; a field that begins with `*` does
    not restrict in that sense.
    """
    minute, hour, day, month, weekday = text.lower().split(" ")
    named = ",".join(_named(part) for part in weekday.split(","))
    either = not (day.startswith("*") or weekday.startswith("*"))
    days = [(day, "*"), ("*", named)] if either else [(day, named)]
    return Calendar(tuple(_trigger(minute, hour, *each, month) for each in days), fixed="*" not in hour)


@lru_cache(maxsize=1024)
def cron_objection(text: str) -> str | None:
    """Why the five fields of `text` (minute hour day month weekday, one blank between them) never come; None if they do."""
    try:
        found = calendar(text)
    except (ValueError, TypeError) as error:
        return str(error)
    fields = {field.name: field for field in found.triggers[0].fields}
    if len(found.triggers) == 1 and not _some_month_has(fields["month"], fields["day"]):
        return "none of its months has such a day"
    return None


def _trigger(minute: str, hour: str, day: str, weekday: str, month: str) -> Any:
    from apscheduler.triggers.cron import CronTrigger

    return CronTrigger(minute=minute, hour=hour, day=day, month=month, day_of_week=weekday, timezone=UTC)


def _named(part: str) -> str:
    """One part of the weekday field with names for numbers, ranges written out. Raises ValueError."""
    match = _PART.fullmatch(part)
    if match is None:
        raise ValueError(f"{part!r} is no weekday")
    first, last, step = match.groups()
    if first == "*":
        start, end = 0, 6
    else:
        start = _number(first)
        end = _number(last) if last else 6 if step else start
    if end == 0 and start > 0 and last in ("0", "sun"):
        end = 7  # a week may end on Sunday
    if start > end or (step and not int(step)):
        raise ValueError(f"{part!r} holds no weekday")
    return ",".join(_WEEKDAYS[each % 7] for each in range(start, end + 1, int(step or 1)))


def _number(weekday: str) -> int:
    if weekday in _WEEKDAYS:
        return _WEEKDAYS.index(weekday)
    if not weekday.isdigit() or int(weekday) > 7:
        raise ValueError(f"{weekday!r} is no weekday; they are 0 to 7, Sunday being both")
    return int(weekday)


def _some_month_has(month: Any, day: Any) -> bool:
    """Whether a month of the field `month` has a day of the field `day`."""
    starts = [datetime(_LEAP_YEAR, number, 1, tzinfo=UTC) for number in range(1, 13)]
    return any(month.get_next_value(start) == start.month and day.get_next_value(start) for start in starts)
