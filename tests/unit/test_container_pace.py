"""How often the receipt of a running command is looked at."""

from itertools import pairwise

from reconciler.drivers.container_pace import Pace


def looks(pace: Pace, *, until: float, cost: float, news: bool) -> list[float]:
    now, found = 0.0, []
    while now < until:
        if pace.due(now):
            found.append(now)
            pace.looked(now, now + cost, news=news)
        now += 0.25
    return found


def test_output_that_keeps_coming_is_looked_at_each_second() -> None:
    assert looks(Pace(), until=5, cost=0.0, news=True) == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_a_silent_command_is_looked_at_less_and_less_but_never_forgotten() -> None:
    found = looks(Pace(), until=60, cost=0.0, news=False)

    pauses = [later - earlier for earlier, later in pairwise(found)]
    assert pauses[:3] == [1.0, 2.0, 4.0]
    assert set(pauses[3:]) == {5.0}


def test_looks_take_no_more_than_a_twentieth_of_an_engine_that_is_busy() -> None:
    assert len(looks(Pace(), until=100, cost=0.5, news=True)) == 10


def test_news_after_silence_are_followed_closely_again() -> None:
    pace = Pace()
    looks(pace, until=60, cost=0.0, news=False)

    pace.looked(60.0, 60.0, news=True)

    assert pace.due(61.0)
