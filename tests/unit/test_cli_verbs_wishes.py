"""What a verb makes of the control that is there: the smallest answer, nothing twice, nothing that comes too late."""

import json

import pytest

from definitions.models import Control
from reconciler.cli import seen_step, wishes
from reconciler.cli.failure import Failure
from reconciler.cli.selection import pairs, split
from reconciler.cli.step_verbs import values

REVOKED = {"state": "revoked", "reason": "wrong"}
TASK = "demo/one"


def test_suspending_says_why_and_forgets_the_time_of_an_earlier_suspension():
    old = {"run": 2, "state": "suspended", "reason": "before", "until": "2026-11-22T06:00Z"}

    wanted = wishes.suspend("CHG-1", None).change(TASK, old)

    assert wanted == {"run": 2, "state": "suspended", "reason": "CHG-1"}


def test_suspending_until_a_time_keeps_it():
    assert wishes.suspend("CHG-1", "2026-11-22T06:00Z").change(TASK, {}) == {
        "state": "suspended",
        "reason": "CHG-1",
        "until": "2026-11-22T06:00Z",
    }


def test_resuming_forgets_why_it_was_suspended():
    old = {"state": "suspended", "reason": "x", "until": "2026-11-22T06:00Z", "run": 3}

    assert wishes.resume().change(TASK, old) == {"state": "running", "run": 3}


@pytest.mark.parametrize("control", [{}, {"state": "running"}, {"run": 2}])
def test_resuming_what_is_not_suspended_changes_nothing(control):
    assert wishes.resume().change(TASK, control) == control


@pytest.mark.parametrize("wish", [wishes.resume(), wishes.suspend("x", None)])
def test_revoked_is_final(wish):
    with pytest.raises(Failure, match="reconciler rerun demo/one"):
        wish.change(TASK, REVOKED)


def test_revoking_again_changes_nothing():
    assert wishes.revoke("another reason").change(TASK, REVOKED) == REVOKED


def test_running_again_counts_on_and_forgets_what_was_asked_of_the_run_before():
    old = {**REVOKED, "run": 4, "steps": {"a": {"retry": {"failed": 1}}}}

    assert wishes.rerun().change(TASK, old) == {"run": 5}
    assert wishes.rerun().change(TASK, {}) == {"run": 2}


def test_running_again_says_what_it_takes_out():
    old = {"run": 4, "state": "suspended", "reason": "x", "steps": {"a": {"retry": {"failed": 1}, "expect": "1d"}}}

    said = wishes.rerun().aside(old)

    assert said == "taken out, because it was about run 4: state, reason, steps.a.retry, steps.a.expect"
    assert not wishes.rerun().aside({"run": 2})
    assert not wishes.retry("a", lambda _: 2).aside(old)


def test_a_retry_names_the_failed_attempt_and_keeps_what_else_was_asked():
    old = {"steps": {"a": {"expect": "1d", "retry": {"failed": 1}}, "b": {"expect": "2d"}}}

    wanted = wishes.retry("a", lambda _: 2).change(TASK, old)

    assert wanted == {"steps": {"a": {"expect": "1d", "retry": {"failed": 2}}, "b": {"expect": "2d"}}}


def test_a_number_that_is_not_what_was_seen_is_replaced():
    old = {"steps": {"a": {"retry": {"failed": 99, "reason": "typo"}}}}

    assert wishes.retry("a", lambda _: 2).change(TASK, old) == {"steps": {"a": {"retry": {"failed": 2}}}}


def test_a_retry_is_asked_anew_with_another_reason():
    old = {"steps": {"a": {"retry": {"failed": 2, "reason": "x"}}}}

    assert wishes.retry("a", lambda _: 2).change(TASK, old) == old
    assert wishes.retry("a", lambda _: 2, "y").change(TASK, old)["steps"]["a"]["retry"] == {"failed": 2, "reason": "y"}


@pytest.mark.parametrize(
    "wish",
    [
        wishes.suspend("CHG-1", None),
        wishes.revoke("CHG-1"),
        wishes.retry("a.b", lambda _: 2),
        wishes.skip("a", "by hand", {"n": [1]}),
        wishes.resolve("a", 1, "failed", "seen", {}),
        wishes.approve("a", lambda _: "sha256:" + "0" * 64),
    ],
)
def test_the_same_wish_again_changes_nothing_and_every_answer_is_a_control(wish):
    once = wish.change(TASK, {"run": 2})

    assert wish.change(TASK, once) == once
    assert Control.model_validate(once).run == 2


@pytest.mark.parametrize(
    ("wish", "subject"),
    [
        (wishes.suspend("CHG-1\nSigned-off-by: x", None), "Suspend demo/one: CHG-1 Signed-off-by: x"),
        (wishes.retry("a", lambda _: 2), "Retry demo/one a after failure 2"),
        (wishes.resolve("a", 1, "failed", "seen", {}), "Resolve demo/one a attempt 1 as failed: seen"),
        (wishes.rerun(), "Rerun demo/one: run 2"),
    ],
)
def test_the_subject_of_the_commit_is_one_line_that_says_all(wish, subject):
    assert wish.subject(TASK, wish.change(TASK, {})) == subject


def test_the_subject_for_several_tasks_says_what_they_share():
    assert wishes.retry("a", lambda _: 2).subject("3 tasks with x=y", {}) == "Retry 3 tasks with x=y a"


class Status:
    """A client that answers with one task."""

    def __init__(self, *steps: dict, state: str = "FAILED") -> None:
        self.steps = steps
        self.state = state

    def fetch(self, path, query) -> bytes:
        assert path == "/tasks/demo/one"
        return json.dumps({"status": {"state": self.state, "steps": self.steps}}).encode()


def step(path: str, state: str, reason: str = "", attempt: int = 0, *steps: dict) -> dict:
    return {"path": path, "state": state, "reason": reason, "attempt": attempt, "failed": attempt or 1, "steps": steps}


FAILED_CALL = step("a", "FAILED", "Failed", 0, step("a.x", "FINISHED", "", 1), step("a.y", "FAILED", "Failed", 3))


def test_a_retry_names_how_often_the_step_failed():
    assert seen_step.times_failed(Status(FAILED_CALL), TASK, "a.y") == 3


def test_what_failed_without_an_attempt_or_was_cut_off_can_be_retried():
    late = step("ask", "FAILED", "TimedOut")
    cut = step("each", "REVOKED", "TimedOut", 0, step("each.0", "REVOKED", "TimedOut", 1))
    own = step("sum", "FAILED", "ExpressionError", 0, step("sum.x", "FINISHED", "", 1))

    found = [seen_step.times_failed(Status(late, cut, own), TASK, path) for path in ("ask", "each", "sum")]

    assert found == [1, 1, 1]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("b", "has no step b; its steps are a, a.x, a.y"),
        ("a", "failed with what it runs; say it of a.y"),
        ("a.x", "has not failed, it is FINISHED"),
    ],
)
def test_what_cannot_be_retried_is_refused_with_what_can(path, words):
    with pytest.raises(Failure, match=words):
        seen_step.times_failed(Status(FAILED_CALL), TASK, path)


def test_nothing_of_a_revoked_task_can_be_retried():
    with pytest.raises(Failure, match="is revoked, which is final"):
        seen_step.times_failed(Status(step("a", "REVOKED", "Revoked", 1), state="REVOKED"), TASK, "a")


def test_a_lost_attempt_is_resolved_and_not_retried():
    with pytest.raises(Failure, match="reconciler resolve demo/one a --attempt 2"):
        seen_step.times_failed(Status(step("a", "FAILED", "Lost", 2)), TASK, "a")


def test_what_is_approved_is_what_status_shows():
    waiting = step("a", "RUNNING", "WaitingForApproval") | {"plan": "sha256:1"}

    assert seen_step.pending_plan(Status(waiting), TASK, "a") == "sha256:1"
    with pytest.raises(Failure, match=r"a\.x of demo/one waits for no approval, it is FINISHED"):
        seen_step.pending_plan(Status(FAILED_CALL), TASK, "a.x")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("20", 20),
        ("true", True),
        ('"20"', "20"),
        ("alice", "alice"),
        ('{"a": [1]}', {"a": [1]}),
        ("", ""),
        ("NaN", "NaN"),
    ],
)
def test_a_value_that_is_json_is_that_and_any_other_is_text(text, value):
    assert values([f"key={text}"], "--output") == {"key": value}


def test_a_value_may_contain_an_equals_sign():
    assert pairs(["query=a=b"], "--with") == {"query": "a=b"}


@pytest.mark.parametrize("text", ["json", "=1"])
def test_a_value_without_a_key_is_refused(text):
    with pytest.raises(Failure, match="KEY=VALUE"):
        pairs([text], "--output")


def test_names_are_written_with_or_without_their_namespace():
    assert split("one") == (None, "one")
    assert split("demo/one") == ("demo", "one")


@pytest.mark.parametrize("text", ["", "/", "/one", "demo/", "a/b/c"])
def test_what_is_no_name_is_refused(text):
    with pytest.raises(Failure, match="NAMESPACE/NAME"):
        split(text)
