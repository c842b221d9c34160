"""Which of several commits made a part of a control say what it says."""

from datetime import UTC, datetime

import pytest

from definitions.definition import Definition
from definitions.files import parse_file
from definitions.revision import Blob, Revision
from reconciler.words import first_said
from tests.definition_files import task

OFF = "state: suspended, reason: x"
RETRY = "steps: {a: {retry: {failed: 1}}}"


def text(control: str, labels: str = "") -> bytes:
    return task("t", "job: good", f"demo{labels}").encode() + (f"control: {{{control}}}\n".encode() if control else b"")


def parsed(data: bytes) -> Definition:
    (found,) = parse_file(Blob("t.yaml", "", len(data), ""), data, "").definitions
    return found


def who(*versions: bytes) -> dict[str, str]:
    """Versions from the latest to the first, made by A, B, C …; of whom each part of the first one is."""
    at = datetime(2026, 11, 22, tzinfo=UTC)
    told = [
        (Revision("main", name, name, "", name, "", at), data) for name, data in zip("ABCDE", versions, strict=False)
    ]
    return {part: each.author for part, each in first_said(parsed(versions[0]), told).items()}


@pytest.mark.parametrize(
    ("versions", "found"),
    [
        ((text(OFF),), {"state": "A", "run.1": "A"}),
        ((text(OFF, ", labels: {a: b}"), text(OFF), text("")), {"state": "B", "run.1": "C"}),
        ((text(OFF), text(""), text(OFF)), {"state": "A", "run.1": "C"}),
        ((text(f"{OFF}, {RETRY}"), text(RETRY), text("")), {"state": "A", "run.1": "C", "steps.a.retry": "B"}),
        ((text(OFF), text("state: suspended, reason: y")), {"state": "B", "run.1": "B"}),
        ((text("run: 2"), text("run: 2"), text("")), {"state": "C", "run.2": "B"}),
        ((text(OFF), b"not: ours", text(OFF)), {"state": "A", "run.1": "A"}),
        ((text(OFF), text("run: [", ""), text(OFF)), {"state": "A", "run.1": "A"}),
    ],
)
def test_a_part_is_of_the_commit_since_which_it_says_so(versions, found):
    assert who(*versions) == found
