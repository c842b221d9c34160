"""Who, why and which bytes, told from the documents that the API gives."""

from datetime import UTC, datetime, timedelta

import pytest

from definitions.program import Node, Program
from reconciler import status
from reconciler.cli import explanation, render
from state.phases import StepPhase, TaskPhase
from state.records import (
    Cause,
    DefinitionRecord,
    Event,
    Origin,
    SourceRecord,
    StepRecord,
    TaskRecord,
    TaskSnapshot,
    Uid,
)

NOW = datetime(2026, 11, 22, 12, 0, 10, tzinfo=UTC)
UID = Uid("u" * 32)


@pytest.fixture
def document() -> dict:
    origin = Origin("c0ffee" * 7, "demo/grade.yaml", "b10b" * 10, "Ada", "ada@example.org", "Grade Alice")
    record = TaskRecord(
        UID, "main", "demo", "grade-alice", 1, "Workflow", "grade", origin, "d", "d", ("p",), {}, NOW - timedelta(minutes=1),
        phase=TaskPhase.FAILED, started_at=NOW - timedelta(minutes=1), finished_at=NOW,
    )  # fmt: skip
    steps = (Node("step1", "step1", "unit"), Node("step2", "step2", "unit", after=("step1",)))
    program = Program("Workflow", "grade", {}, steps, ("step1", "step2"), nodes={node.path: node for node in steps})
    rows = {"step1": StepRecord(UID, "step1", StepPhase.FAILED, message="status 500", started_at=NOW, finished_at=NOW)}
    return status.task(TaskSnapshot(record, rows), program, NOW)


@pytest.fixture
def event() -> dict:
    cause = Cause("observation", "u/step1/-/1/1")
    return status.event(
        Event(UID, NOW, "attempt", "step1", 1, "started", "failed", "Failed", "status 500", cause, 7),
        ("demo", "grade-alice"),
    )


def test_why_tells_the_state_the_failed_step_and_the_author(document, event):
    found = explanation.sentences(document, [event])

    assert found[0].startswith("demo/grade-alice is FAILED")
    assert "step1 failed: status 500" in found[0]
    assert not any("step1 failed" in line for line in found[1:]), "what the sentence says is not said again"
    assert "desired by: demo/grade.yaml at c0ffeec0ff “Grade Alice” by Ada (blob b10bb10bb1)" in found
    assert any(line.startswith("last change: 2026-11-22T12:00:10.000Z  step1#1  started → failed") for line in found)


def test_why_names_whose_commit_suspended_a_task(document, event):
    document["status"]["state"] = "SUSPENDED"
    cause = {"kind": "commit", "reference": "d00d" * 10, "author": "Bob", "message": "Suspend demo/grade-alice: CHG-1"}
    suspended = event | {"subject": "task", "after": "suspended", "cause": cause}

    found = explanation.sentences(document, [suspended, event])

    assert "suspended by: Bob in d00dd00dd0 “Suspend demo/grade-alice: CHG-1”" in found


@pytest.mark.parametrize(
    ("state", "phases", "told"),
    [
        ("REVOKED", ["revoking", "revoked"], "revoked by: Bob in d00dd00dd0 “No more”"),
        ("REVOKED", ["revoked"], "revoked by: Bob in d00dd00dd0 “No more”"),
        ("SUSPENDED", ["suspended", "removed"], "suspended by: Bob in d00dd00dd0 “No more”"),
        ("SUSPENDED", ["removed"], "removed by: Bob in d00dd00dd0 “No more”"),
    ],
)
def test_why_names_whose_commit_stopped_a_task(document, event, state, phases, told):
    document["status"]["state"] = state
    commit = {"kind": "commit", "reference": "d00d" * 10, "author": "Bob", "message": "No more"}
    causes = [commit, *[{"kind": "plan", "reference": "", "author": "", "message": ""}] * len(phases)]
    steps = zip(["running", *phases], phases, causes, strict=False)
    story = [
        event | {"subject": "task", "before": before, "after": after, "cause": cause} for before, after, cause in steps
    ]

    assert told in explanation.sentences(document, story)


def test_nobody_is_named_for_what_a_newer_task_stopped(document, event):
    document["status"]["state"] = "REVOKED"
    plan = {"kind": "plan", "reference": "", "author": "", "message": ""}

    found = explanation.sentences(document, [event | {"subject": "task", "after": "revoking", "cause": plan}])

    assert not any(line.startswith("revoked by") for line in found)


def test_an_observation_names_the_call_that_was_answered(event):
    assert explanation.event_row(event)[3] == "observation of call 1"


def test_why_for_programs_has_the_same_facts(document, event):
    found = explanation.reasons(document, [event])

    assert found["state"] == "FAILED"
    assert found["source"]["author"] == "Ada"
    assert found["lastChange"]["sequence"] == 7


def test_the_tree_reads_what_the_status_module_writes(document):
    found = [str(line) for line in render.lines(document, NOW)]

    assert found[0].startswith("✗ demo/grade-alice  FAILED  0/2 done")
    assert found[1].startswith("  ✗ step1  FAILED")
    assert found[2].startswith("  ○ step2  CREATED")


def test_rows_are_made_from_the_documents_of_the_api():
    source = status.source(SourceRecord("main", "/srv/ops", "main", ".", "c0ffee" * 7, "Ada"))
    problem = {"file": "a.yaml", "line": 3, "column": 5, "code": "E-FIELD", "message": "no"}
    definition = status.definition(
        DefinitionRecord("a.yaml", 0, "b", "c", "Job", "default", "a", "", "", False, (problem,))
    )

    assert explanation.source_row(source)[:5] == ("main", "main", ".", "c0ffeec0ff", "Ada")
    assert explanation.definition_row(definition) == ("Job", "default", "a", "no", "a.yaml", "3:5 E-FIELD no")


def test_a_folder_revision_keeps_its_prefix():
    assert explanation.short("dir:" + "a" * 64) == "dir:aaaaaaaaaa"
    assert explanation.short(None) == ""


@pytest.mark.parametrize(
    ("reason", "message", "told"),
    [
        ("Replaced", "replaced by ops/b", "replaced by ops/b"),
        ("AttemptFailed", "status 500", "AttemptFailed status 500"),
        ("", "continues", "continues"),
        ("Retrying", "", "Retrying"),
    ],
)
def test_a_change_says_its_reason_one_time(reason, message, told):
    assert explanation.said(reason, message) == told


def test_what_people_named_is_a_cause_in_full_and_a_commit_in_short(event):
    told = [
        event | {"cause": {"kind": kind, "reference": reference, "author": "Ada"}}
        for kind, reference in (
            ("trigger", "nightly@20261122T020000Z"),
            ("commit", "c0ffee" * 6),
        )
    ]

    assert [explanation.event_row(each)[3] for each in told] == [
        "trigger nightly@20261122T020000Z Ada",
        "commit c0ffeec0ff Ada",
    ]
