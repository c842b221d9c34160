"""How answers look to people: plain aligned lines in a pipe, tables and trees with colour on a terminal.

Everything shown may come from a definition, a target or a stranger's commit, so it is made inert first: no control
characters reach the terminal, and nothing is read as markup.
"""

import json
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from reconciler.shortening import shortened

MARKS = {"CREATED": "○", "RUNNING": "●", "FAILED": "✗", "SUSPENDED": "‖", "REVOKED": "⊘", "FINISHED": "✓"}
STYLES = {
    "CREATED": "dim",
    "RUNNING": "cyan",
    "FAILED": "bold red",
    "SUSPENDED": "yellow",
    "REVOKED": "magenta",
    "FINISHED": "green",
}
ENDED = frozenset({"FINISHED", "FAILED", "REVOKED"})
SKIPPED = "–"
_VALUE_WIDTH = 60
_ROW_WIDTH = 240
_PAD_WIDTH = 40  # a longer cell goes over its column instead of moving all the others


def console() -> Console:
    """Stdout. Honours NO_COLOR; without a terminal nothing is coloured, wrapped or cut."""
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=not sys.stdout.isatty())


def inert(text: object) -> str:
    """`text` on one line with control, bidi and zero-width characters replaced, so it cannot move the cursor."""
    return "".join(char if _harmless(char) else " " if char.isspace() else "�" for char in str(text))


def _harmless(char: str) -> bool:
    return char.isprintable() and unicodedata.category(char) not in {"Cf", "Zl", "Zp"}


def print_json(value: object) -> None:
    """`value` as indented JSON, whole, what would act on a terminal escaped; stdout gets nothing else."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    print("".join(char if char == "\n" or _harmless(char) else json.dumps(char)[1:-1] for char in text))


def warn_of_stillness(tasks: Iterable[Mapping[str, Any]], notice: str) -> None:
    """Says `notice` on stderr before the answer, if there is one and one of `tasks` has not ended."""
    if notice and any(task["status"]["state"] not in ENDED for task in tasks):
        print(inert(notice), file=sys.stderr, flush=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Rows under their column names, the last one cut: on a terminal to fit, in a pipe where it is very long."""
    cells = [[inert("" if cell is None else cell) for cell in row] for row in rows]
    cells = [[*row[:-1], shortened(row[-1], _ROW_WIDTH)] for row in cells]
    if not sys.stdout.isatty():
        for line in _aligned([list(columns), *cells]):
            print(line)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=True, overflow="ellipsis", ratio=1 if number == len(columns) - 1 else None)
    for row in cells:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    console().print(table)


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [min(_PAD_WIDTH, max(cell_len(row[column]) for row in rows)) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()


@dataclass(frozen=True, slots=True)
class Line:
    """One step in a tree of text."""

    depth: int
    mark: str
    name: str
    state: str
    detail: str

    def __str__(self) -> str:
        return f"{'  ' * self.depth}{self.mark} {self.name}  {self.state}  {self.detail}".rstrip()


def lines(task: Mapping[str, Any], now: datetime) -> list[Line]:
    """A task and its steps, in flow order, children below their step."""
    status = task["status"]
    name = inert("/".join((task["metadata"]["namespace"], task["metadata"]["name"])))
    detail = "  ".join(part for part in (progress_text(status), _detail(status, now)) if part)
    mark = SKIPPED if status.get("reason") == "Skipped" else MARKS.get(status["state"], "?")
    found = [Line(0, mark, name, status["state"], detail)]
    for step in status.get("steps", ()):
        found += _step_lines(step, 1, now)
    return found


def _step_lines(step: Mapping[str, Any], depth: int, now: datetime) -> list[Line]:
    mark = SKIPPED if step.get("skip") else MARKS.get(step["state"], "?")
    own = Line(depth, mark, inert(step["name"]), step["state"], _detail(step, now))
    below = [line for child in step.get("steps") or () for line in _step_lines(child, depth + 1, now)]
    return [own, *below]


def _detail(status: Mapping[str, Any], now: datetime) -> str:
    reason = status.get("reason") or ""
    reason = "" if reason == "Succeeded" else reason
    # the step below that goes on says more about it than its parent can
    speaks = (
        not any(child["state"] in {"RUNNING", "FAILED"} for child in status.get("steps") or ()) or "path" not in status
    )
    message = shortened(status.get("message") or "") if speaks else ""
    parts = [reason, _elapsed(status, now), values(status.get("outputs")), message]
    return inert("  ".join(part for part in parts if part))


def values(outputs: object) -> str:
    """Outputs as `name=value …`, long ones cut."""
    if not isinstance(outputs, Mapping):
        return "" if outputs is None else _short(outputs)
    return shortened(" ".join(f"{name}={_short(value)}" for name, value in outputs.items()))


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _VALUE_WIDTH else text[: _VALUE_WIDTH - 1] + "…"


def progress(status: Mapping[str, Any]) -> tuple[int, int]:
    """How many of the steps of a task have finished, and how many there are."""
    found = status.get("progress") or {"done": 0, "total": 0}
    return found["done"], found["total"]


def progress_text(status: Mapping[str, Any]) -> str:
    """`3/6 done, 1h 2m left`; what is not known is left out."""
    done, total = progress(status)
    parts = [f"{done}/{total} done"] if total else []
    left = status.get("remainingSeconds")
    if left is not None and not status.get("finishedAt"):
        parts.append(f"{span(left)} left" if left >= 0 else f"{span(-left)} overdue")
    return ", ".join(parts)


def span(seconds: float) -> str:
    """A duration in its two largest units: `2d 23h`, `4m 5s`, `0.3s`."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f}s"
    rest, parts = int(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        parts += [f"{count}{unit}"] if count else []
    return " ".join(parts[:2])


def moment(text: str | None) -> datetime | None:
    """A time of an answer; None where there is none."""
    return datetime.fromisoformat(text) if text else None


def age(text: str | None, now: datetime) -> str:
    """How long ago a time of an answer was."""
    at = moment(text)
    return span((now - at).total_seconds()) if at else ""


def now_utc() -> datetime:
    """The reader's clock; only for ages on the screen."""
    return datetime.now(UTC)


def _elapsed(status: Mapping[str, Any], now: datetime) -> str:
    start, end = moment(status.get("startedAt")), moment(status.get("finishedAt"))
    return span(((end or now) - start).total_seconds()) if start else ""


def tree(task: Mapping[str, Any], now: datetime) -> RenderableType:
    """The same lines for a terminal: a coloured tree under a progress bar."""
    head, *rest = lines(task, now)
    root = Tree(_styled(head), guide_style="dim")
    branches = [root]
    for line in rest:
        del branches[line.depth :]
        branches.append(branches[-1].add(_styled(line)))
    done, total = progress(task["status"])
    return Group(root, ProgressBar(total=max(total, 1), completed=done, width=40))


def _styled(line: Line) -> Text:
    style = STYLES.get(line.state, "")
    return Text.assemble(
        (f"{line.mark} {line.name}", style),
        "  ",
        (line.state, style),
        "  ",
        (line.detail, "dim"),
        no_wrap=True,
        overflow="ellipsis",
    )
