"""The instants of a cron text in a time zone: its slots, each of which fires at most once.

The calendar gives wall-clock times, and this module says what a zone makes of them, the same way for every zone. A
trigger whose hour field is fixed (`30 2 * * *`) means one time a day: in a fold, where the clock shows it twice, it comes
at the first instant only, and in a gap, where the clock never shows it, at the first instant after the gap, as Vixie's
cron does; a gap of more than three hours (a zone that crosses the date line) takes its times with it. A trigger with a
wildcard hour (`*/15 * * * *`) comes whenever the clock shows its time: at both instants of a fold, at none of a gap.
Nothing here enumerates a span: the last slots of ten years are found by bisection.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from definitions.cron import Calendar, calendar

LONGEST_GAP = timedelta(hours=3)
"""A clock that is put forward by more has not lost times of day but a part of the calendar."""
_LAST_YEAR = 9990
_TICK = timedelta(microseconds=1)
_NOTHING = timedelta(0)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Transition:
    """The instant from which on a zone's clock is `after` ahead of UTC, having been `before` ahead."""

    at: datetime
    before: timedelta
    after: timedelta

    @property
    def repeat(self) -> timedelta:
        """How much wall-clock time comes twice; zero in a gap."""
        return max(self.before - self.after, _NOTHING)

    @property
    def gap(self) -> timedelta:
        """How much wall-clock time never comes; zero in a fold."""
        return max(self.after - self.before, _NOTHING)


@dataclass(frozen=True, slots=True)
class Slots:
    """The instants, in UTC, of one calendar in one zone."""

    calendar: Calendar
    zone: ZoneInfo

    def next(self, after: datetime) -> datetime | None:
        """The first slot later than `after`; None if there is none before the year 9990."""
        edge, begin = after.astimezone(UTC), after.astimezone(UTC) + _TICK
        while begin.year <= _LAST_YEAR:
            begin = self._behind_repeat(begin)
            offset = _offset(self.zone, begin)
            wall = self.calendar.next((begin + offset).replace(tzinfo=None))
            if wall is None:
                return None
            found = wall.replace(tzinfo=UTC) - offset
            crossing = next((each for each in _transitions(self.zone, edge, found) if each.at > edge), None)
            if crossing is None or crossing.at > found:
                return found
            if self._loses_a_time(crossing):
                return crossing.at
            edge = begin = crossing.at
        return None

    def upcoming(self, after: datetime, count: int, until: datetime | None = None) -> list[datetime]:
        """The first `count` slots later than `after`, and not later than `until`."""
        found: list[datetime] = []
        while len(found) < count and (later := self.next(found[-1] if found else after)):
            if until and later > until:
                break
            found.append(later)
        return found

    def latest(self, after: datetime, until: datetime) -> datetime | None:
        """The last slot that is later than `after` and not later than `until`; None if there is none."""
        first, span = None, timedelta(minutes=1)
        while first is None:
            low = max(after, until - span) if until - after > span else after
            first = self._first(low, until)
            if low <= after and first is None:
                return None
            span *= 4
        low, high = first, until
        while later := self._first(low, until):  # `low` is a slot; none is later than `high` and not than `until`
            low = later
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) / 2
                found = self._first(middle, until)
                if found is None:
                    high = middle
                else:
                    low = found
        return low

    def past(self, after: datetime, until: datetime, count: int) -> list[datetime]:
        """The last `count` slots that are later than `after` and not later than `until`, the oldest first."""
        found: list[datetime] = []
        while len(found) < count and (slot := self.latest(after, until)):
            found.append(slot)
            until = slot - _TICK
        return found[::-1]

    def _first(self, after: datetime, until: datetime) -> datetime | None:
        found = self.next(after)
        return found if found and found <= until else None

    def _behind_repeat(self, instant: datetime) -> datetime:
        """`instant`, or the end of the repeated wall-clock time that it lies in, where only the first showing counts."""
        if not self.calendar.fixed:
            return instant
        repeats = (each.at + each.repeat for each in _transitions(self.zone, instant - _DAY, instant))
        return max([instant, *repeats])

    def _loses_a_time(self, crossing: Transition) -> bool:
        """Whether one of the times that the clock never shows here is to be made up for."""
        if not self.calendar.fixed or not _NOTHING < crossing.gap <= LONGEST_GAP:
            return False
        start = (crossing.at + crossing.before).replace(tzinfo=None)
        lost = self.calendar.next(start)
        return lost is not None and lost < start + crossing.gap


@lru_cache(maxsize=1024)
def slots_of(cron: str, timezone: str) -> Slots:
    """The slots of a checked cron text in a zone such as `Asia/Shanghai`."""
    return Slots(calendar(cron), ZoneInfo(timezone))


def slot_name(instant: datetime) -> str:
    """A slot as it stands in the name of its task: `20261122T180000Z`."""
    return f"{instant.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _offset(zone: ZoneInfo, instant: datetime) -> timedelta:
    return instant.astimezone(zone).utcoffset() or _NOTHING


def _transitions(zone: ZoneInfo, after: datetime, until: datetime) -> Iterator[Transition]:
    """What the clock of `zone` does later than `after` and not later than `until`, in order."""
    for year in range(after.year, until.year + 1):
        yield from (each for each in _of_year(zone, year) if after < each.at <= until)


@lru_cache(maxsize=4096)
def _of_year(zone: ZoneInfo, year: int) -> tuple[Transition, ...]:
    """The transitions of one year in UTC; two within a day that undo each other are not found, and there are none."""
    found: list[Transition] = []
    day, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    while day < end:
        following = min(day + _DAY, end)
        while day < following and _offset(zone, day) != _offset(zone, following):
            at = _change(zone, day, following)
            found.append(Transition(at, _offset(zone, day), _offset(zone, at)))
            day = at
        day = following
    return tuple(found)


def _change(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The first whole second in (`low`, `high`] at which the offset is not that of `low`."""
    offset, seconds = _offset(zone, low), (high - low) // timedelta(seconds=1)
    first, last = 0, seconds
    while last - first > 1:
        middle = (first + last) // 2
        same = _offset(zone, low + timedelta(seconds=middle)) == offset
        first, last = (middle, last) if same else (first, middle)
    return low + timedelta(seconds=last)
