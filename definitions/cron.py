"""What a cron text means on the wall clock: the one door to APScheduler, whose triggers know the calendar.

Only its calendar is used, in UTC, as if no clock were ever put forward or back; what a zone makes of it is the matter of
`slots`. It never sees a text that this module has not understood: it counts weekdays from Monday and knows no 7, so that
`0 8 * * 1` would silently mean Tuesday, and it reads `jan-mar/2` as if it ended before the stroke. A day that no month
has is found by looking at one leap year's months, because searching for its next occurrence takes a tenth of a second.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

FIELDS = "minute hour day-of-month month weekday"
_LEAP_YEAR = 2028
_LONGEST = 500
"""Characters: all five fields written out in full have fewer."""
_PART = re.compile(r"(\*|[0-9]{1,4}|[a-z]{3})(?:-([0-9]{1,4}|[a-z]{3}))?(?:/([0-9]{1,4}))?")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_ELSEWHERE = {
    "?": "write `*`",
    "#": "a weekday is not counted within its month",
    **dict.fromkeys(("l", "lw", "last"), "a day is not counted from the end of its month"),
    "w": "a weekday is not looked for near a day",
}
"""What other dialects of cron have, and what to say of it here."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """The wall-clock times of five cron fields. `fixed`: the hour field names hours (no `*`), as in `30 2 * * *`."""

    triggers: tuple[Any, ...]
    fixed: bool

    def next(self, wall: datetime) -> datetime | None:
        """The first time at or after `wall`, both without a zone; None if there is none before the year 10000."""
        found = [trigger.get_next_fire_time(None, wall.replace(tzinfo=UTC)) for trigger in self.triggers]
        return min((each.replace(tzinfo=None) for each in found if each), default=None)


@dataclass(frozen=True, slots=True)
class _Field:
    """One of the five: its least and greatest number, and the names of numbers from `low` on."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def number(self, word: str, part: str) -> int:
        found = self.low + self.names.index(word) if word in self.names else int(word) if word.isdigit() else -1
        if not self.low <= found <= self.high:
            raise ValueError(f"`{part}`: the {self.name} field has {self.low} to {self.high}{self._named()}")
        return found

    def numbers(self, part: str) -> range:
        """What one part between commas means. Raises ValueError."""
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"`{part}`: {self._misread(part)}")
        first, last, step = match.groups()
        start = self.low if first == "*" else self.number(first, part)
        end = self.number(last, part) if last else self.high if first == "*" or step else start
        if first == "*" and last:
            raise ValueError(f"`{part}`: `*` is all of them, and begins no range")
        if end == self.low and start > end and self.names == _WEEKDAYS:
            end = self.high  # a week may end on Sunday
        if start > end:
            raise ValueError(f"`{part}`: a range goes from the lower to the higher {self.name}")
        most = max(end - start, 1)
        if step and not 0 < int(step) <= most:
            raise ValueError(f"`{part}`: a step is 1 to {most} here")
        return range(start, end + 1, int(step or 1))

    def _named(self) -> str:
        return f", or {self.names[0]} to {self.names[-1]}" if self.names else ""

    def _misread(self, part: str) -> str:
        sign = "#" if "#" in part else part.strip("0123456789-")
        return _ELSEWHERE.get(sign, "a field has numbers, `*`, ranges (2-4), steps (*/2) and commas between them")


_MINUTE, _HOUR = _Field("minute", 0, 59), _Field("hour", 0, 23)
_DAY, _MONTH = _Field("day of month", 1, 31), _Field("month", 1, 12, _MONTHS)
_WEEKDAY = _Field("weekday", 0, 7, _WEEKDAYS)


@lru_cache(maxsize=1024)
def calendar(text: str) -> Calendar:
    """The calendar of the five fields of `text` (minute hour day month weekday). Raises ValueError.

    With day of month and weekday both restricted, either is enough, as cron has it; a field that begins with `*` does
    not restrict in that sense. Of two such halves, one that never comes (30 February) is left out.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"it has {len(text)} characters, and {_LONGEST} are more than enough")
    words = text.lower().split()
    if len(words) != 5:
        raise ValueError(f"there are {len(words)} fields, and cron has five: {FIELDS}")
    minute, hour, day, month = map(_plain, (_MINUTE, _HOUR, _DAY, _MONTH), words[:4])
    weekday = ",".join(dict.fromkeys(_names(words[4])))
    either = not (words[2].startswith("*") or words[4].startswith("*"))
    days = [(day, "*"), ("*", weekday)] if either else [(day, weekday)]
    triggers = [_trigger(minute, hour, *each, month) for each in days]
    return Calendar(tuple(filter(_comes, triggers)), fixed="*" not in words[1])


@lru_cache(maxsize=1024)
def cron_objection(text: str) -> str | None:
    """Why the five fields of `text` (minute hour day month weekday) are no cron or never come; None if they do."""
    try:
        found = calendar(text)
    except ValueError as error:
        return str(error)
    return None if found.triggers else "it never comes: none of its months has such a day"


def _trigger(minute: str, hour: str, day: str, weekday: str, month: str) -> Any:
    from apscheduler.triggers.cron import CronTrigger

    return CronTrigger(minute=minute, hour=hour, day=day, month=month, day_of_week=weekday, timezone=UTC)


def _plain(field: _Field, text: str) -> str:
    """A field in ranges of numbers, as APScheduler reads them."""
    return ",".join(_range(field.numbers(part)) for part in text.split(","))


def _range(numbers: range) -> str:
    if len(numbers) == 1:
        return str(numbers[0])
    return f"{numbers[0]}-{numbers[-1]}" + (f"/{numbers.step}" if numbers.step > 1 else "")


def _names(weekdays: str) -> Iterator[str]:
    for part in weekdays.split(","):
        yield from (_WEEKDAYS[each % 7] for each in _WEEKDAY.numbers(part))


def _comes(trigger: Any) -> bool:
    """Whether one of its months has one of its days."""
    fields = {field.name: field for field in trigger.fields}
    month, day = fields["month"], fields["day"]
    starts = [datetime(_LEAP_YEAR, number, 1, tzinfo=UTC) for number in range(1, 13)]
    return any(month.get_next_value(start) == start.month and day.get_next_value(start) for start in starts)
