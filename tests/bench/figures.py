"""What a bench found out, and how it is printed: one line of a table that a person can compare with the aim."""

import os
import platform
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_HEAD = ("bench", "what", "here", "baseline", "ratio", "aim", "reached")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value. `ratio` compares it with `baseline` of the same run; `reached` None: no aim was set."""

    bench: str
    what: str
    here: str
    baseline: str = "-"
    ratio: str = "-"
    aim: str = "-"
    reached: bool | None = None
    series: tuple[tuple[str, float], ...] = ()  # what a chart shows: (label, value)

    @property
    def cells(self) -> tuple[str, ...]:
        verdict = {None: "-", True: "yes", False: "**no**"}[self.reached]
        return (self.bench, self.what, self.here, self.baseline, self.ratio, self.aim, verdict)


def table(figures: Iterable[Figure]) -> str:
    """A Markdown table."""
    return _drawn([_HEAD, *(figure.cells for figure in figures)])


def chart(figure: Figure) -> str:
    """The series of a figure as a Mermaid chart."""
    labels = ", ".join(f'"{label}"' for label, _ in figure.series)
    values = ", ".join(f"{value:.2f}" for _, value in figure.series)
    top = 1.2 * max(value for _, value in figure.series)
    head = f'```mermaid\nxychart-beta\n  title "{figure.what}: ms of a core"\n'
    return f"{head}  x-axis [{labels}]\n  y-axis 0 --> {top:.2f}\n  bar [{values}]\n```"


def _drawn(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which `share` (0..1) of `values` lie, by the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Iterable[float]) -> float:
    return percentile(values, 0.5)


def machine() -> str:
    """What it was measured on, in one line; how busy it was matters as much as what it is."""
    load = os.getloadavg()[0]
    versions = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    return f"{_processor()}, {os.cpu_count()} cores, {sys.platform}, {versions}, load average {load:.1f} at the start"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
