"""Trees, tables and durations as text."""

import json
from datetime import UTC, datetime

import pytest

from reconciler.cli import render, screen
from reconciler.shortening import shortened

NOW = datetime(2026, 11, 22, 12, 0, 10, tzinfo=UTC)


def step(name: str, state: str, *children: dict, **rest: object) -> dict:
    return {"name": name, "path": rest.pop("path", name), "state": state, "steps": list(children), **rest}


def task(state: str = "RUNNING", **status: object) -> dict:
    steps = status.pop("steps", [step("step1", "FINISHED"), step("step2", state)])
    progress = {"done": 1, "total": 3}
    shown = {"state": state, "progress": progress, "steps": steps, **status}
    return {"metadata": {"namespace": "demo", "name": "grade"}, "status": shown}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0s"), (0.34, "0.3s"), (59, "59s"), (61, "1m 1s"), (3600, "1h"), (90061, "1d 1h"), (-5, "0.0s")],
)
def test_a_duration_is_shown_in_its_two_largest_units(seconds, text):
    assert render.span(seconds) == text


def test_a_tree_has_one_line_per_step_with_children_below_their_step():
    calls = [step("api2", "RUNNING", path="step2.api2"), step("api3", "CREATED", path="step2.api3")]
    found = render.lines(
        task(steps=[step("step1", "FINISHED", outputs={"name": "a"}), step("step2", "RUNNING", *calls)]), NOW
    )

    assert [str(line) for line in found] == [
        "● demo/grade  RUNNING  1/3 done",
        "  ✓ step1  FINISHED  name=a",
        "  ● step2  RUNNING",
        "    ● api2  RUNNING",
        "    ○ api3  CREATED",
    ]


def test_a_skipped_step_has_a_mark_of_its_own():
    found = render.lines(task(steps=[step("step1", "FINISHED", skip=True)]), NOW)

    assert str(found[1]).startswith("  – step1")


def test_a_task_that_was_skipped_says_so_in_its_tree_as_in_a_list():
    skipped = render.lines(task("FINISHED", reason="Skipped", message="the group is full", steps=[]), NOW)
    done = render.lines(task("FINISHED", reason="Succeeded", steps=[]), NOW)

    assert str(skipped[0]) == "– demo/grade  FINISHED  1/3 done  Skipped  the group is full"
    assert str(done[0]) == "✓ demo/grade  FINISHED  1/3 done"


def test_progress_tells_what_is_left_and_what_is_overdue():
    assert render.progress_text({"state": "RUNNING", "remainingSeconds": 3700}) == "1h 1m left"
    assert render.progress_text({"state": "RUNNING", "remainingSeconds": -120}) == "2m overdue"
    assert render.progress_text({"state": "FINISHED", "remainingSeconds": 0, "finishedAt": "x"}) == ""


def test_nothing_that_a_stranger_wrote_reaches_the_terminal_as_a_command():
    text = render.inert("a\x1b[31mred\x07\n\u202eevil\u200b")

    assert text == "a�[31mred� �evil�"


LONG = f"ship {'x' * 100_000}\u202e\x9b2Jdone?; to approve it: `reconciler approve demo/grade ask --plan sha256:{'a' * 64}`"


def test_a_long_text_is_cut_in_trees_and_tables_and_still_says_what_to_do(capsys):
    asks = step("ask", "RUNNING", reason="WaitingForApproval", message=LONG)
    lines = [str(line) for line in render.lines(task(message=LONG, steps=[asks]), NOW)]
    render.print_table(("NAME", "MESSAGE"), [("grade", LONG)])

    said = [*lines, capsys.readouterr().out.splitlines()[1]]

    assert all(len(line) < 500 for line in said)
    assert all("ship xxx" in line and "…" in line and line.endswith(f"sha256:{'a' * 64}`") for line in said)


def test_programs_get_a_long_text_whole_and_nothing_that_acts_on_a_terminal(capsys):
    render.print_json({"message": LONG, "name": "上线"})

    out = capsys.readouterr().out

    assert json.loads(out) == {"message": LONG, "name": "上线"}
    assert "上线" in out
    assert all(char.isprintable() or char == "\n" for char in out)


def test_a_long_text_without_advice_is_cut_at_its_end():
    assert shortened("a" * 500) == "a" * 399 + "…"
    assert shortened("short; as it is") == "short; as it is"
    assert shortened("a; " + "b" * 500, 100) == ("a; " + "b" * 500)[:99] + "…"


def test_a_table_is_aligned_by_the_width_of_its_characters(capsys):
    render.print_table(("NAME", "STATE"), [("上线", "RUNNING"), ("a", None)])

    assert capsys.readouterr().out == "NAME  STATE\n上线  RUNNING\na\n"


def test_followed_lines_appear_only_when_a_state_or_reason_changes():
    changes = screen.Changes()
    first = changes.of(task(message="polls again in 4 s"))
    second = changes.of(task(message="polls again in 3 s"))
    third = changes.of(task("FINISHED"))

    assert [line.split("  ", 1)[1] for line in first] == [
        "● demo/grade  RUNNING  1/3 done  polls again in 4 s",
        "  ✓ step1  FINISHED",
        "  ● step2  RUNNING",
    ]
    assert second == []
    assert len(third) == 2


def test_the_tree_for_a_terminal_has_every_step_and_a_bar():
    from rich.console import Console

    console = Console(width=100, file=None, record=True, force_terminal=True, quiet=False)
    with console.capture() as capture:
        console.print(render.tree(task(), NOW))

    assert "step1" in capture.get()
    assert "━" in capture.get()
