"""What the next tick is about: dirty tasks, due wake-ups, files in slices, and those who wait for room."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from definitions.desired import Complete, Unavailable
from reconciler.actions import Plan, Verb
from reconciler.agenda import SET_BACK, SLICE, Agenda
from reconciler.drivers.protocol import Ended
from reconciler.inbox import News
from reconciler.judgement import Report
from reconciler.observed import Limits
from state.changes import Activated, AttemptAdvanced, StepAdvanced
from state.phases import StepPhase
from state.records import AttemptRecord, Identity, Snapshot, SourceRecord, StepRecord, TaskSnapshot, Uid
from tests.definition_files import GOOD, Shelf
from tests.histories import attempt, task, trigger
from tests.stage import START

TOTAL = Limits(total=2)
NOTHING, NOBODY = Plan(), Snapshot()
ACTIVATED = Activated(SourceRecord("main", "here", "main", ""), (), ())


@dataclass
class Waiting:
    """The lines of such a store."""

    waiting: dict[str, list[Uid]] = field(default_factory=dict)

    def first(self, groups: Iterable[str], most: int) -> list[Uid]:
        return [uid for group in groups for uid in self.waiting.get(group, [])[:most]]

    def rivals(self, groups: Iterable[str]) -> list[Uid]:
        return self.first(groups, 99)


@dataclass
class Wakes:
    """The part of a store that an agenda asks."""

    wakes: dict[Uid, datetime] = field(default_factory=dict)
    running: list[Uid] = field(default_factory=list)
    times: dict[Identity, datetime] = field(default_factory=dict)
    lines: Waiting = field(default_factory=Waiting)

    def due(self, now: datetime, limit: int) -> tuple[list[Uid], datetime | None]:
        ready = sorted((uid for uid, at in self.wakes.items() if at <= now), key=lambda uid: self.wakes[uid])[:limit]
        return ready, min((at for uid, at in self.wakes.items() if uid not in ready), default=None)

    def due_triggers(self, now: datetime, limit: int) -> tuple[list[Identity], datetime | None]:
        ready = [identity for identity, at in self.times.items() if at <= now][:limit]
        return ready, min((at for identity, at in self.times.items() if identity not in ready), default=None)

    def early_triggers(self, time: datetime) -> list[Identity]:
        return [identity for identity, at in self.times.items() if at > time]

    def sleeping(self, now: datetime) -> list[Uid]:
        return [uid for uid, at in self.wakes.items() if at > now]

    def snapshot(self, uids: Iterable[Uid]) -> Snapshot:
        return Snapshot({uid: asleep(uid, self.wakes[uid]) for uid in uids})

    def live(self) -> list[Uid]:
        return self.running

    def unfinished(self) -> list[Uid]:
        return []

    def uncleaned(self) -> list[AttemptRecord]:
        return []


def asleep(uid: Uid, until: datetime) -> TaskSnapshot:
    """A task with an attempt that waits for its next poll, a step that waits for its retry, and one for a date."""
    steps = {
        "a": StepRecord(uid, "a", StepPhase.RUNNING, attempt=1),
        "b": StepRecord(uid, "b", StepPhase.RETRYING, "Retry", "code 1", wake_at=until),
        "c": StepRecord(uid, "c", StepPhase.RUNNING, wake_at=until),
    }
    polled = attempt(uid, "a", wake_at=until, message="not yet")
    return TaskSnapshot(replace(task(str(uid)), uid=uid), steps, {"a": polled})


@pytest.fixture
def store():
    return Wakes()


@pytest.fixture
def agenda(store):
    return Agenda(store)


def uids(count: int, name: str = "t") -> list[Uid]:
    return [Uid(f"{name}{number}") for number in range(count)]


def parked(*tasks: Uid) -> Plan:
    return Plan(parked=frozenset(tasks))


def report(uid: str = "somebody") -> Report:
    return Report(Uid(uid), "a", 1, 1, Verb.START, Ended(succeeded=True))


def complete(*, hold: bool = False) -> Complete:
    library = Shelf().put(good=GOOD)
    return Complete(library.tree.revision, library, hold=hold)


def identities(count: int) -> list[Identity]:
    return [("demo", f"t{number}") for number in range(count)]


def settle(agenda: Agenda, plan: Plan = NOTHING, tasks: Iterable[Uid] = (), snapshot: Snapshot = NOBODY) -> None:
    agenda.settle(plan, snapshot.tasks, tasks, START)


def line(agenda: Agenda, count: int) -> None:
    """So many tasks wait for room."""
    for uid in uids(count, "waiting"):
        settle(agenda, parked(uid))


def test_a_start_looks_at_everything_that_is_not_over(agenda, store):
    store.running = uids(3)
    agenda.start(START)

    tasks, *_ = agenda.next(News(), TOTAL, START)

    assert list(tasks) == uids(3)
    assert agenda.next(News(), TOTAL, START) == ((), (), ())


def test_reports_and_due_wakes_bring_their_tasks_each_once(agenda, store):
    store.wakes = {Uid("later"): START + timedelta(hours=1), Uid("due"): START, Uid("somebody"): START}
    agenda.next_wake = START

    tasks, *_ = agenda.next(News(reports=[report(), report()]), TOTAL, START)

    assert sorted(tasks) == ["due", "somebody"]
    assert agenda.next_wake == START + timedelta(hours=1)


def test_nothing_is_read_before_the_next_wake(agenda, store):
    agenda.next_wake = START + timedelta(seconds=1)
    store.wakes = {Uid("early"): START}

    assert agenda.next(News(), TOTAL, START) == ((), (), ())


def test_files_are_compared_in_slices_and_the_revision_counts_with_the_last(agenda):
    news = News(desired=complete(), identities=identities(SLICE + 1), activation=ACTIVATED)

    _, first, _ = agenda.next(news, TOTAL, START)
    early = agenda.activation()
    settle(agenda)
    pressing = agenda.pressing
    _, second, _ = agenda.next(News(), TOTAL, START)
    late = agenda.activation()
    settle(agenda)

    assert (len(first), len(second)) == (SLICE, 1)
    assert (early, late) == ([], [ACTIVATED])
    assert pressing
    assert not agenda.pressing
    assert agenda.activation() == []


def test_files_wait_while_the_source_is_unavailable(agenda):
    _, none, _ = agenda.next(News(desired=Unavailable("FetchFailed", ""), identities=identities(2)), TOTAL, START)
    _, both, _ = agenda.next(News(desired=complete()), TOTAL, START)

    assert none == ()
    assert list(both) == identities(2)


def test_what_a_cold_start_holds_stays_held_when_a_commit_comes_in_between(agenda):
    agenda.next(News(desired=complete(hold=True), identities=identities(SLICE + 1)), TOTAL, START)

    agenda.next(News(desired=complete()), TOTAL, START)
    held = agenda.desired
    agenda.next(News(desired=complete()), TOTAL, START)

    assert isinstance(held, Complete) and held.hold
    assert isinstance(agenda.desired, Complete) and not agenda.desired.hold


def test_a_turn_that_was_not_written_is_tried_again(agenda):
    agenda.next(News(desired=complete()), TOTAL, START)
    agenda.again(uids(1), identities(1))

    assert agenda.pressing
    assert agenda.next(News(), TOTAL, START) == (tuple(uids(1)), tuple(identities(1)), ())


def test_a_quarantined_task_is_left_alone(agenda):
    agenda.quarantine(uids(1))

    tasks, *_ = agenda.next(News(tasks=uids(2)), TOTAL, START)

    assert list(tasks) == uids(2)[1:]


def test_those_in_line_are_asked_when_a_report_may_have_made_room(agenda):
    line(agenda, 3)
    before, *_ = agenda.next(News(), TOTAL, START)

    tasks, *_ = agenda.next(News(reports=[report()]), TOTAL, START)

    assert before == ()
    assert list(tasks) == ["somebody", *uids(3, "waiting")]


def test_a_long_line_is_asked_in_parts_until_somebody_finds_room(agenda):
    line(agenda, 30)
    first, *_ = agenda.next(News(reports=[report()]), TOTAL, START)
    settle(agenda, parked(*first[1:]))
    pressing = agenda.pressing
    second, *_ = agenda.next(News(), TOTAL, START)
    settle(agenda, Plan(parked=frozenset(second[1:]), served="demo"))

    third, *_ = agenda.next(News(), TOTAL, START)

    assert list(first[1:]) == uids(30, "waiting")[:8]
    assert list(second) == uids(30, "waiting")[8:16]
    assert pressing
    assert third == ()
    assert agenda.served == "demo"
    assert not agenda.pressing


def test_a_line_of_which_nobody_finds_room_is_asked_once_and_no_more(agenda):
    line(agenda, 20)
    asked: list[Uid] = []
    news = News(reports=[report()])
    for _ in range(10):
        tasks, *_ = agenda.next(news, TOTAL, START)
        settle(agenda, parked(*(uid for uid in tasks if uid != "somebody")))
        asked += tasks
        news = News()

    assert sorted(asked) == sorted(["somebody", *uids(20, "waiting")])
    assert not agenda.pressing
    assert not agenda.empty


def test_the_file_that_waits_for_the_end_of_a_run_is_compared_again(agenda):
    agenda.next(News(desired=complete()), TOTAL, START)

    settle(agenda, Plan(again=frozenset({("demo", "alice")})))

    assert agenda.pressing
    assert agenda.next(News(), TOTAL, START) == ((), (("demo", "alice"),), ())


def test_the_first_in_line_are_asked_when_something_of_their_group_ended_or_began(agenda, store):
    store.lines.waiting = {"main": uids(3, "waiting"), "spare": uids(1, "other")}
    settle(agenda, Plan(freed=frozenset({"main"})))
    pressing = agenda.pressing

    first, *_ = agenda.next(News(), TOTAL, START)
    second, *_ = agenda.next(News(), TOTAL, START)

    assert pressing
    assert (first, second) == (tuple(uids(3, "waiting")), ())
    assert agenda.empty


def test_a_task_that_goes_on_at_once_is_looked_at_in_the_next_turn(agenda):
    settle(agenda, Plan(look=frozenset(uids(1))))

    assert agenda.pressing
    assert agenda.next(News(), TOTAL, START)[0] == tuple(uids(1))


def test_a_task_that_is_left_alone_takes_part_in_nothing(agenda, store):
    store.lines.waiting = {"main": uids(2)}
    agenda.quarantine(uids(1))

    assert agenda.rivals({"main"}) == uids(2)[1:]


def test_a_wake_that_has_passed_and_changed_nothing_counts_a_breath_later(agenda, store):
    record = replace(task(), deadline=START - timedelta(hours=1))
    snapshot = Snapshot({record.uid: TaskSnapshot(record)})

    settle(agenda, tasks=[record.uid], snapshot=snapshot)

    assert agenda.next_wake == START + timedelta(seconds=1)


def test_an_agenda_is_empty_when_nothing_waits_for_anything(agenda, store):
    before = agenda.empty
    store.wakes = {Uid("later"): START + timedelta(days=1)}

    assert before
    assert not agenda.empty


# -- triggers ------------------------------------------------------------------------------------------------------------

NIGHTLY: Identity = ("demo", "nightly")


def in_force(agenda: Agenda) -> None:
    """A revision is in force and everything that it brought is settled."""
    agenda.next(News(desired=complete()), TOTAL, START)
    settle(agenda)


def test_a_trigger_wakes_the_loop_at_its_next_time(agenda, store):
    in_force(agenda)

    agenda.settle(NOTHING, {}, (), START, [trigger(wake_at=START + timedelta(hours=1))])
    store.times = {NIGHTLY: START + timedelta(hours=1)}
    early = agenda.next(News(), TOTAL, START)
    wake = agenda.next_wake

    assert early == ((), (), ())
    assert wake == START + timedelta(hours=1)
    assert agenda.next(News(), TOTAL, START + timedelta(hours=1)) == ((), (), (NIGHTLY,))


def test_a_trigger_that_is_due_waits_for_a_revision_that_says_what_it_makes(agenda, store):
    store.times = {NIGHTLY: START}
    agenda.start(START)

    before = agenda.next(News(), TOTAL, START)

    assert before == ((), (), ())
    assert agenda.next(News(desired=complete()), TOTAL, START)[2] == (NIGHTLY,)


def test_the_next_time_of_a_trigger_is_no_work_to_wait_for(agenda, store):
    in_force(agenda)
    store.times = {NIGHTLY: START + timedelta(hours=1)}

    assert agenda.empty


def test_a_revision_counts_with_the_last_trigger_that_looked_at_it(agenda):
    news = News(
        desired=complete(), activation=ACTIVATED, triggers=[("demo", f"t{n}") for n in range(SLICE + 1)], changed={"a"}
    )
    agenda.next(news, TOTAL, START)
    first = (agenda.activation(), agenda.changed)
    settle(agenda)
    agenda.next(News(), TOTAL, START)
    second = (agenda.activation(), agenda.changed)
    settle(agenda)

    assert first == ([], {"a"})
    assert second == ([ACTIVATED], {"a"})
    assert agenda.changed == frozenset()


def test_a_trigger_whose_task_has_ended_is_looked_at_again(agenda):
    in_force(agenda)

    settle(agenda, Plan(triggers=frozenset({NIGHTLY})))

    assert agenda.pressing
    assert agenda.next(News(), TOTAL, START)[2] == (NIGHTLY,)


def test_triggers_of_which_one_fails_come_one_at_a_time_and_that_one_never_again(agenda):
    in_force(agenda)
    agenda.singly([("demo", "a"), ("demo", "b")])

    first = agenda.next(News(), TOTAL, START)[2]
    agenda.quarantine((), first)
    agenda.again((), (), [("demo", "a")])
    found = [agenda.next(News(), TOTAL, START)[2] for _ in range(3)]

    assert first == (("demo", "a"),)
    assert found == [(("demo", "b"),), (), ()]


def test_a_clock_that_went_far_back_brings_what_was_decided_ahead_of_it(agenda, store):
    in_force(agenda)
    agenda.next(News(), TOTAL, START + timedelta(days=3653))
    store.times = {NIGHTLY: START + timedelta(days=3653)}

    assert agenda.next(News(), TOTAL, START)[2] == (NIGHTLY,)


@pytest.mark.parametrize("started", [True, False], ids=["while it runs", "before a start"])
def test_who_sleeps_by_a_clock_that_went_back_sleeps_no_longer_than_was_meant(agenda, store, started):
    day, soon = timedelta(days=1), timedelta(seconds=5)
    store.wakes = {Uid("asleep"): START + day + soon}
    if started:
        agenda.next(News(), TOTAL, START + day)
    else:
        agenda.start(START, START + day)
    news = News()

    tasks, _, _ = agenda.next(news, TOTAL, START)

    assert "asleep" in tasks
    polled, retried = news.changes
    assert isinstance(polled, AttemptAdvanced) and isinstance(retried, StepAdvanced)
    assert (polled.path, polled.signal, polled.message, polled.wake_at) == ("a", None, "not yet", START + soon)
    assert (retried.path, retried.signal, retried.reason, retried.wake_at) == ("b", None, "Retry", START + soon)
    later = News()
    agenda.next(later, TOTAL, START + soon)
    assert later.changes == []


def test_many_who_sleep_too_long_are_woken_in_slices(agenda, store):
    store.wakes = dict.fromkeys(uids(SLICE + 1), START + timedelta(days=2))
    agenda.start(START, START + timedelta(days=1))
    first, second = News(), News()
    agenda.next(first, TOTAL, START)
    assert agenda.pressing
    agenda.next(second, TOTAL, START)
    assert (len(first.changes), len(second.changes)) == (2 * SLICE, 2)


def test_a_clock_that_is_put_right_by_a_little_changes_nothing(agenda, store):
    store.wakes = {Uid("asleep"): START + timedelta(hours=1)}
    agenda.start(START, START + SET_BACK)
    news = News()
    agenda.next(news, TOTAL, START)
    assert news.changes == []


def test_the_moment_of_a_decision_about_an_older_database_is_remembered(agenda):
    agenda.next(News(desired=replace(complete(), older="restored")), TOTAL, START)

    agenda.decided(START)

    assert isinstance(agenda.desired, Complete)
    assert (agenda.desired.older, agenda.desired.looked_at) == ("restored", START)
