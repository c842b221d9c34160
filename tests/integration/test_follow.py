"""What a revision makes the loop look at: a real store and a real library, and a source that is a mapping of texts."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from definitions.desired import Complete
from definitions.revision import Blob, Revision, SourceUnavailable, Tree
from reconciler.follow import Follower
from reconciler.inbox import Inbox, News
from reconciler.last_good import LastGood
from reconciler.plan.whole import plan
from state.changes import Change, TaskAdvanced
from state.phases import Signal
from state.records import Cause, DefinitionRecord, SourceRecord
from state.store import Store
from tests.definition_files import GOOD, IMPLEMENTED, Shelf, job, task
from tests.stage import START, Stage

BAD = "apiVersion: reconciler/v1\nkind: Job\nmetadata: [\n"


@dataclass
class Texts:
    """A source whose commits are made by hand."""

    name: str = "main"
    shelf: Shelf = field(default_factory=Shelf)
    trailers: tuple[tuple[str, str], ...] = ()
    broken: str = ""
    history: list[str] = field(default_factory=list)
    tip: str = ""
    people: dict[str, Revision] = field(default_factory=dict)  # who changed a file last, as far as it can be found

    def put(self, **files: str | None) -> None:
        for name, text in files.items():
            if text is None:
                del self.shelf.files[f"{name}.yaml"]
            else:
                self.shelf.files[f"{name}.yaml"] = text.encode()
        self.shelf.history.append(dict(self.shelf.files))
        self.tip = self.shelf.tree().revision.commit

    def describe(self) -> str:
        return "texts"

    def followed(self) -> str:
        return ""

    def revision(self) -> Revision:
        if self.broken:
            raise SourceUnavailable("FetchFailed", self.broken)
        return replace(self.shelf.tree().revision, trailers=self.trailers, commit=self.tip)

    def tree(self, revision: Revision) -> Tree:
        return replace(self.shelf.tree(), revision=revision)

    def read(self, blobs: Sequence[Blob]) -> Iterator[tuple[Blob, bytes]]:
        return self.shelf.read(blobs)

    def changed(self, old: str, new: str) -> None:
        """It cannot tell."""

    def rewound(self, old: str, new: str) -> bool:
        return False

    def origins(self, paths: Collection[str], old: str | None, new: str) -> Mapping[str, Sequence[Revision]]:
        return {path: (self.people[path],) for path in paths if path in self.people}

    def versions(self, path: str, revisions: Sequence[Revision]) -> Sequence[bytes]:
        return ()

    def close(self) -> None:
        """Nothing is held."""


class NoSecrets:
    def lengths(self, names: object) -> dict[str, int]:
        return {}


class Desk:
    """A follower with what it writes into, and the commit of what it asks for."""

    def __init__(self, store: Store, source: Texts, *, hold: bool = False) -> None:
        self.store, self.source, self.inbox = store, source, Inbox()
        record = store.source("main") or SourceRecord("main", "texts", "main", "")
        self.follower = Follower(
            source, record, store, self.inbox, NoSecrets(), lambda: START, drivers=IMPLEMENTED, hold=hold
        )

    async def look(self) -> News:
        """One look and one turn of the loop without calls."""
        await self.follower.look()
        news = self.inbox.take()
        changes: list[Change] = [news.source] if news.source else []
        if isinstance(news.desired, Complete):
            snapshot = self.store.snapshot((), news.identities, news.triggers)
            observed = replace(Stage().observed(news.identities), snapshot=snapshot, triggers=frozenset(news.triggers))
            pins = {task.record.pins for task in observed.snapshot.tasks.values() if task.record.pins}
            programs = {digests: news.desired.library.program("Job", "default", "good") for digests in pins}
            changes += plan(news.desired, replace(observed, programs=programs), START).changes
            changes += [news.activation] if news.activation else []
        self.store.commit(changes, START)
        return news

    def conditions(self) -> list[str]:
        record = self.store.source("main")
        assert record is not None
        return [f"{each['type']}={each['status']} {each['reason']}" for each in record.conditions]

    def phase(self, name: str) -> str:
        (found,) = self.store.snapshot((), [("demo", name)]).tasks.values()
        return str(found.record.phase)


@pytest.fixture
def store(tmp_path):
    store = Store.open(tmp_path / "state")
    yield store
    store.close(keep_wal=False)


@pytest.fixture
async def desk(store):
    source = Texts()
    source.put(good=GOOD)
    desk = Desk(store, source)
    await desk.look()
    yield desk
    desk.follower.close()


def one(name: str) -> str:
    return task(name, "job: good, with: {name: x}")


async def test_only_task_files_that_say_something_new_are_compared(desk):
    desk.source.put(a=one("a"), b=one("b"))
    first = await desk.look()
    desk.source.put(b=one("b") + "deletePolicy: revoke\n", other=job("other"))

    second = await desk.look()

    assert first.identities == [("demo", "a"), ("demo", "b")]
    assert second.identities == [("demo", "b")]


async def test_of_revisions_that_are_put_in_force_by_one_commit_everything_is_written(desk, store):
    desk.source.put(a=one("a"), b=one("b"), other=job("other"))
    await desk.follower.look()
    desk.source.put(b=None, c=one("c"), other=job("another"))
    await desk.follower.look()
    desk.source.put(b=one("b"))

    await desk.look()

    written = [(row.path, row.name) for row in store.definitions("main")]
    assert written == [
        ("a.yaml", "a"),
        ("b.yaml", "b"),
        ("c.yaml", "c"),
        ("good.yaml", "good"),
        ("other.yaml", "another"),
    ]


async def test_a_file_keeps_who_changed_it_last_through_revisions_that_leave_it_alone(desk):
    desk.source.people["a.yaml"] = replace(desk.source.revision(), author="Ann", commit="a1")
    desk.source.put(a=one("a"))
    await desk.look()
    desk.source.people.clear()
    desk.source.put(b=one("b"))

    news = await desk.look()

    assert isinstance(news.desired, Complete)
    origin = news.desired.library.tree.origin
    assert (origin("a.yaml").author, origin("a.yaml").commit) == ("Ann", "a1")
    assert origin("b.yaml").commit == news.desired.revision.commit


async def test_at_a_start_a_file_whose_last_change_is_not_found_is_not_laid_at_the_door_of_the_tip(store, desk):
    desk.source.put(a=one("a"))
    before = (await desk.look()).desired.revision.commit
    desk.source.put(b=one("b"))
    restarted = Desk(store, desk.source)

    news = await restarted.look()
    restarted.follower.close()

    assert isinstance(news.desired, Complete)
    origin = news.desired.library.tree.origin
    assert (origin("a.yaml").author, origin("a.yaml").commit) == ("", before)
    assert (origin("b.yaml").author, origin("b.yaml").commit) == ("", news.desired.revision.commit)


async def test_the_same_commit_is_read_only_once(desk):
    before = len(desk.source.shelf.read_paths)

    news = await desk.look()

    assert news.desired is None
    assert len(desk.source.shelf.read_paths) == before


async def test_a_removal_that_came_with_a_bad_file_takes_effect_when_that_is_mended(desk):
    desk.source.put(a=one("a"))
    await desk.look()
    desk.source.put(a=None, bad=BAD)
    withheld = await desk.look()
    phase_meanwhile = desk.phase("a")
    desk.source.put(bad=None)

    mended = await desk.look()

    assert isinstance(withheld.desired, Complete)
    assert not withheld.desired.removes
    assert phase_meanwhile == "running"
    assert ("demo", "a") in mended.identities
    assert desk.phase("a") == "removed"


async def test_what_was_withheld_counts_when_the_size_of_a_removal_is_judged(desk):
    desk.source.put(**{f"t{number}": one(f"t{number}") for number in range(7)})
    await desk.look()
    desk.source.put(**{f"t{number}": None for number in range(7)}, bad=BAD)
    await desk.look()
    desk.source.put(bad=None)

    refused = await desk.look()

    assert refused.desired is None
    assert "PruneBlocked=True PruneBlocked" in desk.conditions()
    assert desk.phase("t0") == "running"


async def test_a_trailer_lets_a_large_removal_through(desk):
    desk.source.put(**{f"t{number}": one(f"t{number}") for number in range(7)})
    await desk.look()
    desk.source.put(**{f"t{number}": None for number in range(7)})
    await desk.look()
    desk.source.trailers = (("Reconciler-Allow-Prune", "7"),)
    desk.source.put(good=GOOD)

    news = await desk.look()

    assert isinstance(news.desired, Complete)
    assert desk.phase("t0") == "removed"
    assert desk.conditions() == ["Ready=True InForce"]


async def test_going_back_to_what_is_in_force_clears_a_refusal(desk):
    desk.source.put(**{f"t{number}": one(f"t{number}") for number in range(7)})
    await desk.look()
    in_force, kept = desk.source.tip, dict(desk.source.shelf.files)
    desk.source.put(**{f"t{number}": None for number in range(7)})
    await desk.look()
    refused = desk.conditions()
    desk.source.shelf.files, desk.source.tip = kept, in_force

    await desk.look()

    assert "PruneBlocked=True PruneBlocked" in refused
    assert desk.conditions() == ["Ready=True InForce"]


async def test_a_source_that_cannot_be_read_leaves_everything_in_force(desk):
    desk.source.put(a=one("a"))
    await desk.look()
    desk.source.broken = "no route to host"
    news = await desk.look()
    unavailable = desk.conditions()
    desk.source.broken = ""

    await desk.look()

    assert news.desired is None
    assert unavailable == ["Ready=False FetchFailed"]
    assert desk.conditions() == ["Ready=True InForce"]
    assert desk.phase("a") == "running"


async def test_a_start_compares_only_what_differs_from_what_was_told(desk, store):
    desk.source.put(a=one("a"), b=one("b"))
    await desk.look()
    desk.source.put(a=None, c=one("c"))
    restarted = Desk(store, desk.source)

    news = await restarted.look()

    restarted.follower.close()
    assert news.identities == [("demo", "a"), ("demo", "c")]
    assert desk.phase("a") == "removed"


async def test_a_start_finds_the_run_that_waited_for_the_end_of_another(desk, store):
    desk.source.put(a=one("a"))
    await desk.look()
    desk.source.put(a=one("a") + "control: {run: 2}\n")
    await desk.look()
    ((uid, running),) = store.snapshot((), [("demo", "a")]).tasks.items()
    store.commit([TaskAdvanced(uid, Signal.SUCCEED, Cause("plan"))], START)
    restarted = Desk(store, desk.source)

    news = await restarted.look()

    restarted.follower.close()
    assert running.record.conditions == {"RunWaiting": "run 2 waits for the end of run 1"}
    assert news.identities == [("demo", "a")]
    (second,) = store.snapshot((), [("demo", "a")]).tasks.values()
    assert (second.record.run, str(second.record.phase)) == (2, "running")


async def test_only_the_first_revision_of_a_cold_start_is_held(store):
    source = Texts()
    source.put(good=GOOD, a=one("a"))
    cold = Desk(store, source, hold=True)
    await cold.look()
    source.put(b=one("b"))

    await cold.look()

    cold.follower.close()
    assert cold.phase("a") == "unadopted"
    assert cold.phase("b") == "running"


async def test_a_start_with_a_bad_file_falls_back_on_its_last_good_version(desk, store):
    desk.source.put(a=one("a"))
    await desk.look()
    desk.source.put(good=BAD)
    restarted = Desk(store, desk.source)

    news = await restarted.look()

    restarted.follower.close()
    assert isinstance(news.desired, Complete)
    assert news.desired.library.resolve("Job", "demo", "good") is not None
    assert restarted.conditions() == ["Ready=True InForce", "DefinitionsRejected=True DefinitionsRejected"]


async def test_a_trigger_whose_file_goes_beside_a_rejected_one_stays_in_force_over_a_restart_until_that_is_mended(
    desk, store
):
    tick = "apiVersion: reconciler/v1\nkind: Trigger\nmetadata: {name: tick, namespace: demo}\nspec: {task: {job: own}, cron: '0 * * * *'}\n"
    desk.source.put(tick=f"{job('own')}---\n{tick.replace('own}', 'own, with: {name: x}}')}")
    await desk.look()
    desk.source.put(tick=None, bad=BAD)
    await desk.look()
    desk.source.put(other=job("other"))
    last = await desk.look()
    restarted = Desk(store, desk.source)
    first = await restarted.look()
    kept = {(row.kind, row.name) for row in store.definitions("main") if row.text}

    desk.source.put(bad=None)
    mended = await restarted.look()

    restarted.follower.close()
    for news in (last, first):
        trigger = news.desired.library.trigger("demo", "tick")
        assert trigger is not None and news.desired.library.unresolved(trigger) is None
        assert news.desired.library.program("Job", "demo", "own").name == "own"
    assert kept == {("Job", "good"), ("Job", "own"), ("Job", "other"), ("Trigger", "tick")}
    assert mended.desired.library.trigger("demo", "tick") is None
    assert mended.triggers == [("demo", "tick")]
    assert {row.name for row in store.definitions("main")} == {"good", "other"}


def test_last_good_versions_are_parsed_where_asked_for_and_left_out_if_they_fit_no_more():
    text = Shelf().put(good=GOOD).definitions["Job", "default", "good"].text
    sound = DefinitionRecord("good.yaml", 0, "b", "c1", "Job", "default", "good", "d", text, accepted=True)
    rejected = replace(sound, path="bad.yaml", text="", accepted=False)
    odd = replace(sound, path="odd.yaml", text="{}")

    good = LastGood([sound, rejected, odd])

    assert sorted(good) == ["good.yaml", "odd.yaml"]
    assert len(good) == 2
    assert [definition.name for definition in good["good.yaml"]] == ["good"]
    assert good["odd.yaml"] == ()


# -- triggers ------------------------------------------------------------------------------------------------------------

NIGHTLY = (
    "apiVersion: reconciler/v1\nkind: Trigger\nmetadata: {name: nightly, namespace: demo}\n"
    "spec: {task: {job: good, with: {name: x}}, cron: '0 2 * * *'}\n"
)
BUILD = NIGHTLY.replace("nightly", "build").replace("cron: '0 2 * * *'", "onCommit: {paths: [a.yaml]}")


async def test_a_trigger_is_looked_at_when_its_file_changes_and_one_without_times_at_every_revision(desk):
    desk.source.put(nightly=NIGHTLY, build=BUILD)
    first = await desk.look()
    desk.source.put(other=job("other"))
    second = await desk.look()
    desk.source.put(nightly=NIGHTLY.replace("0 2", "0 3"), build=None)

    third = await desk.look()

    both = [("demo", "build"), ("demo", "nightly")]
    assert [first.triggers, second.triggers, third.triggers] == [both, [("demo", "build")], both]


async def test_where_the_source_cannot_tell_what_changed_the_definitions_that_did_have_to_do(desk):
    desk.source.put(build=BUILD)
    await desk.look()
    desk.source.put(a=one("a"))

    news = await desk.look()

    assert news.changed == {"a.yaml"}


async def test_what_was_in_force_stands_in_for_a_source_that_is_away_at_the_start(desk):
    desk.source.put(a=one("a"), nightly=NIGHTLY)
    await desk.look()
    desk.source.broken = "no route to host"
    again = Desk(desk.store, desk.source)

    news = await again.look()
    later = await again.look()
    again.follower.close()

    assert isinstance(news.desired, Complete) and not news.desired.removes
    assert news.desired.library.trigger("demo", "nightly")
    assert (news.triggers, news.identities, news.activation) == ([("demo", "nightly")], [], None)
    assert later.desired is None
    assert again.follower.library is None
    assert desk.phase("a") == "running"
