"""Whether a cron text means a time that ever comes: the one door to APScheduler, whose triggers decide it.

APScheduler counts weekdays from Monday and knows no 7, so numbers become names here before it sees them; otherwise
`0 8 * * 1` would silently mean Tuesday. A day that no month has is found by looking at one leap year's months, because
searching for its next occurrence takes a tenth of a second.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_PART = re.compile(r"(\*|[0-9]+|[a-z]{3})(?:-([0-9]+|[a-z]{3}))?(?:/([0-9]+))?")
_LEAP_YEAR = 2028


@lru_cache(maxsize=1024)
def cron_objection(text: str) -> str | None:
    """Why the five fields of `text` (minute hour day month weekday, one blank between them) never come; None if they do."""
    from apscheduler.triggers.cron import CronTrigger

    minute, hour, day, month, weekday = text.lower().split(" ")
    try:
        named = ",".join(_named(part) for part in weekday.split(","))
        trigger = CronTrigger(minute=minute, hour=hour, day=day, month=month, day_of_week=named, timezone=UTC)
    except (ValueError, TypeError) as error:
        return str(error)
    fields = {field.name: field for field in trigger.fields}
    if weekday == "*" and not _some_month_has(fields["month"], fields["day"]):
        return "none of its months has such a day"
    return None


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
