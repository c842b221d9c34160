"""The benches measure what docs/performance.md says, and still run."""

import re
import subprocess
import sys

import pytest

from tests.bench.__main__ import BENCHES
from tests.bench.figures import Figure, chart, percentile, table
from tests.project.modules import ROOT

PAGE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")


def test_every_bench_is_explained_and_has_figures():
    _, figures, explained = re.split(r"<!-- figures: (?:begin|end) -->", PAGE)
    named = {line.split("|")[1].strip() for line in figures.splitlines() if line.startswith("|")}
    assert set(BENCHES) <= named
    assert set(BENCHES) == set(re.findall(r"^\| `(\w+)` +\|", explained, flags=re.MULTILINE))


def test_a_missed_aim_is_told_apart():
    figures = [Figure("a", "quick", "1 ms", reached=True), Figure("b", "slow", "9 ms", reached=False)]
    lines = table(figures).splitlines()
    assert lines[2].endswith("| yes     |")
    assert lines[3].endswith("| **no**  |")


def test_a_series_is_drawn():
    figure = Figure("growth", "a tick", "flat", series=(("10", 1.0), ("100", 1.5)))
    assert 'x-axis ["10", "100"]' in chart(figure)
    assert "bar [1.00, 1.50]" in chart(figure)


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 3), (0.99, 5), (1.0, 5)])
def test_percentiles_are_values_that_were_measured(share, value):
    assert percentile([5, 4, 3, 2, 1], share) == value


def test_a_bench_prints_its_table():
    command = [sys.executable, "-m", "tests.bench", "--quick", "nothing"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "0 parses, 0 rows" in done.stdout
    assert "| yes" in done.stdout
