"""Each slot of a cron text comes as often as it should and in order, whatever the clocks of its zone do."""

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from definitions.cron import calendar, cron_objection
from definitions.slots import LONGEST_GAP, Slots, slot_name, slots_of

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def instants(cron: str, zone: str, start: str, count: int) -> list[str]:
    """The slots after `start` (a local time), each as its local time with its offset."""
    begin = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone))
    found = slots_of(cron, zone).upcoming(begin.astimezone(UTC), count)
    return [each.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes") for each in found]


@pytest.mark.parametrize(
    ("cron", "weekdays"),
    [
        ("0 8 * * 0", {6}),
        ("0 8 * * 7", {6}),
        ("0 8 * * 1", {0}),
        ("0 8 * * mon-fri", {0, 1, 2, 3, 4}),
        ("0 8 * * 5-7", {4, 5, 6}),
        ("0 8 * * */3", {6, 2, 5}),
    ],
)
def test_weekday_numbers_mean_what_cron_says(cron, weekdays):
    found = slots_of(cron, "UTC").upcoming(datetime(2026, 11, 22, tzinfo=UTC), 14)

    assert {each.weekday() for each in found} == weekdays


def test_day_of_month_and_weekday_together_mean_either():
    assert instants("0 0 13 * 5", "UTC", "2026-11-01T00:00", 6) == [
        "2026-11-06T00:00+00:00",
        "2026-11-13T00:00+00:00",
        "2026-11-20T00:00+00:00",
        "2026-11-27T00:00+00:00",
        "2026-12-04T00:00+00:00",
        "2026-12-11T00:00+00:00",
    ]
    assert instants("0 0 13 * 1", "UTC", "2026-11-10T00:00", 2)[0] == "2026-11-13T00:00+00:00"


def test_a_day_that_begins_with_a_star_leaves_the_choice_to_the_weekday():
    found = slots_of("0 0 */2 * 1", "UTC").upcoming(datetime(2026, 11, 1, tzinfo=UTC), 20)

    assert all(each.weekday() == 0 and each.day % 2 for each in found)


@pytest.mark.parametrize("cron", ["0 0 31 2 *", "0 0 30 2 */2"])
def test_a_day_that_no_month_has_is_found_out_at_once(cron):
    began = time.perf_counter()

    assert cron_objection(cron) == "it never comes: none of its months has such a day"
    assert time.perf_counter() - began < 0.5


def test_of_a_day_and_a_weekday_the_one_that_never_comes_costs_nothing_and_ten_years_are_looked_over():
    slots, now = slots_of("0 0 30 2 1", "Africa/Casablanca"), datetime(2026, 11, 22, tzinfo=UTC)
    began = time.perf_counter()

    found = slots.past(now, now + 3653 * DAY, 100)

    assert time.perf_counter() - began < 1
    assert {(each.month, each.weekday()) for each in (one.astimezone(slots.zone) for one in found)} == {(2, 0)}
    assert found == slots.upcoming(now, 100, now + 3653 * DAY)


@pytest.mark.parametrize(
    ("cron", "same"),
    [
        ("0\t0  * * 1", "0 0 * * mon"),
        ("0 0 1 jan-mar/2 *", "0 0 1 1,3 *"),
        ("0 0 * * fri-sun", "0 0 * * 0,5,6"),
        ("5/25 * * * *", "5,30,55 * * * *"),
        ("0 0 *,31 * *", "0 0 * * *"),
    ],
)
def test_what_is_written_otherwise_comes_at_the_same_times(cron, same):
    start = datetime(2026, 11, 22, tzinfo=UTC)

    assert slots_of(cron, "UTC").upcoming(start, 20) == slots_of(same, "UTC").upcoming(start, 20)


# -- what clocks do ------------------------------------------------------------------------------------------------------


def test_a_fixed_time_that_the_clock_shows_twice_comes_at_its_first_showing():
    assert instants("30 1 * * *", "America/New_York", "2026-10-31T12:00", 3) == [
        "2026-11-01T01:30-04:00",
        "2026-11-02T01:30-05:00",
        "2026-11-03T01:30-05:00",
    ]
    assert instants("30 1 * * *", "Europe/London", "2026-10-24T12:00", 2) == [
        "2026-10-25T01:30+01:00",
        "2026-10-26T01:30+00:00",
    ]


def test_a_time_of_every_hour_comes_at_both_showings():
    assert instants("30 * * * *", "America/New_York", "2026-11-01T00:45", 4) == [
        "2026-11-01T01:30-04:00",
        "2026-11-01T01:30-05:00",
        "2026-11-01T02:30-05:00",
        "2026-11-01T03:30-05:00",
    ]


def test_a_fixed_time_that_the_clock_never_shows_comes_right_after_the_gap():
    assert instants("30 2 * * *", "America/New_York", "2026-03-07T12:00", 2) == [
        "2026-03-08T03:00-04:00",
        "2026-03-09T02:30-04:00",
    ]
    assert instants("10 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00", 2) == [
        "2026-10-04T02:30+11:00",
        "2026-10-05T02:10+11:00",
    ]


def test_two_times_that_fall_into_one_gap_are_one_slot():
    assert instants("0,30 2 * * *", "America/New_York", "2026-03-08T00:00", 2) == [
        "2026-03-08T03:00-04:00",
        "2026-03-09T02:00-04:00",
    ]
    assert instants("0 2,3 * * *", "America/New_York", "2026-03-08T00:00", 2) == [
        "2026-03-08T03:00-04:00",
        "2026-03-09T02:00-04:00",
    ]


def test_a_wildcard_hour_comes_only_when_the_clock_shows_its_time():
    assert instants("30 */1 * * *", "America/New_York", "2026-03-08T01:00", 3) == [
        "2026-03-08T01:30-05:00",
        "2026-03-08T03:30-04:00",
        "2026-03-08T04:30-04:00",
    ]
    assert instants("15 * * * *", "Australia/Lord_Howe", "2026-10-04T01:00", 2) == [
        "2026-10-04T01:15+10:30",
        "2026-10-04T03:15+11:00",
    ]


def test_half_an_hour_that_comes_twice_is_half_an_hour():
    assert instants("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00", 2) == [
        "2026-04-05T01:45+11:00",
        "2026-04-06T01:45+10:30",
    ]
    assert instants("*/15 * * * *", "Australia/Lord_Howe", "2026-04-05T01:20", 6) == [
        "2026-04-05T01:30+11:00",
        "2026-04-05T01:45+11:00",
        "2026-04-05T01:30+10:30",
        "2026-04-05T01:45+10:30",
        "2026-04-05T02:00+10:30",
        "2026-04-05T02:15+10:30",
    ]


def test_clocks_that_are_put_back_for_a_month_in_the_year_are_no_exception():
    assert instants("30 2 * * *", "Africa/Casablanca", "2026-02-14T12:00", 2) == [
        "2026-02-15T02:30+01:00",
        "2026-02-16T02:30+00:00",
    ]
    assert instants("30 2 * * *", "Africa/Casablanca", "2026-03-21T12:00", 2) == [
        "2026-03-22T03:00+01:00",
        "2026-03-23T02:30+01:00",
    ]


def test_a_day_that_a_zone_skipped_takes_its_times_with_it():
    assert instants("0 9 * * *", "Pacific/Apia", "2011-12-28T12:00", 3) == [
        "2011-12-29T09:00-10:00",
        "2011-12-31T09:00+14:00",
        "2012-01-01T09:00+14:00",
    ]
    assert instants("0 * * * *", "Pacific/Apia", "2011-12-29T22:30", 2) == [
        "2011-12-29T23:00-10:00",
        "2011-12-31T00:00+14:00",
    ]


# -- as properties, against a look at every minute -----------------------------------------------------------------------

CLOCKS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "America/New_York": ((2026, 3, 8), (2026, 11, 1)),
    "Europe/London": ((2026, 3, 29), (2026, 10, 25)),
    "Australia/Lord_Howe": ((2026, 4, 4), (2026, 10, 3)),
    "Africa/Casablanca": ((2026, 2, 15), (2026, 3, 22)),
    "Pacific/Apia": ((2011, 12, 30), (2011, 9, 24)),
    "UTC": ((2026, 11, 22), (2028, 2, 29)),
}
ZONE_DAYS = [(zone, day) for zone, days in CLOCKS.items() for day in days]
MINUTES = st.sampled_from(["0", "30", "*/15", "1,59", "7"])
HOURS = st.sampled_from(["*", "*/2", "2", "1-3", "0", "23", "1,2,3"])
DAYS = st.sampled_from(["* * *", "* * 0", "1,15 * *", "8 3 0", "29 2 *", "*/2 * 6"])


def shown(cron: str, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """The slots after `start` and up to `end`, from a look at the clock at every minute."""
    found = calendar(cron)
    seen: set[datetime] = set()
    made: list[datetime] = []
    now, before = start - 25 * HOUR, (start - 25 * HOUR).astimezone(zone).replace(tzinfo=None)
    while now <= end:
        wall = now.astimezone(zone).replace(tzinfo=None)
        hidden = [before + n * MINUTE for n in range(1, int((wall - before) / MINUTE))]
        made_up = (
            found.fixed and len(hidden) * MINUTE < LONGEST_GAP and any(found.next(each) == each for each in hidden)
        )
        due = found.next(wall) == wall and not (found.fixed and wall in seen)
        if (due or made_up) and now > start:
            made.append(now)
        seen.add(wall)
        now, before = now + MINUTE, wall
    return made


@settings(max_examples=40)
@given(MINUTES, HOURS, DAYS, st.sampled_from(ZONE_DAYS), st.integers(0, 1800))
def test_each_slot_comes_at_its_instant_and_no_other(minute, hour, days, place, shift):
    cron, (zone, day) = f"{minute} {hour} {days}", place
    start = datetime(day[0], day[1], day[2], tzinfo=UTC) - DAY + shift * MINUTE
    end = start + 6 * HOUR
    slots = slots_of(cron, zone)

    found: list[datetime] = []
    while (later := slots.next(found[-1] if found else start)) and later <= end:
        found.append(later)

    assert found == shown(cron, ZoneInfo(zone), start, end)
    assert found == sorted(set(found))


@given(MINUTES, HOURS, DAYS, st.sampled_from(ZONE_DAYS), st.integers(0, 5))
def test_looking_back_finds_what_looking_ahead_found(minute, hour, days, place, count):
    cron, (zone, day) = f"{minute} {hour} {days}", place
    slots = slots_of(cron, zone)
    start = datetime(day[0], day[1], day[2], tzinfo=UTC) - 2 * DAY
    ahead = slots.upcoming(start, count)
    until = ahead[-1] if ahead else start

    assert slots.past(start, until, 10) == ahead
    assert slots.latest(start, start) is None
    assert slots.upcoming(start, 100, until) == ahead


def test_ten_years_of_minutes_are_looked_over_in_no_time():
    slots = slots_of("* * * * *", "America/New_York")
    now = datetime(2036, 11, 22, 6, 0, 30, tzinfo=UTC)
    began = time.perf_counter()

    found = slots.past(now - timedelta(days=3653), now, 100)

    assert time.perf_counter() - began < 1
    assert found[-1] == now.replace(second=0) and found[0] == found[-1] - 99 * MINUTE


def test_what_comes_every_28_years_is_found_both_ways():
    slots = slots_of("0 0 29 2 */7", "Europe/London")

    ahead = slots.upcoming(datetime(2026, 1, 1, tzinfo=UTC), 2)

    assert [each.year for each in ahead] == [2032, 2060]
    assert slots.past(datetime(2026, 1, 1, tzinfo=UTC), datetime(2061, 1, 1, tzinfo=UTC), 3) == ahead


def test_the_end_of_the_calendar_is_no_error():
    assert slots_of("0 0 1 1 *", "Asia/Shanghai").next(datetime(9989, 6, 1, tzinfo=UTC)) is not None
    assert slots_of("0 0 1 1 *", "Asia/Shanghai").next(datetime(9995, 6, 1, tzinfo=UTC)) is None


def test_a_slot_is_named_by_its_instant_in_utc():
    (slot,) = slots_of("0 2 * * *", "Asia/Shanghai").upcoming(datetime(2026, 11, 22, tzinfo=UTC), 1)

    assert slot_name(slot) == "20261122T180000Z"
    assert isinstance(slots_of("0 2 * * *", "Asia/Shanghai"), Slots)
