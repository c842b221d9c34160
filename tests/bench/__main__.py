"""`python -m tests.bench [NAME…]`: measure, print a Markdown table.

Each bench makes its own repository and state folder in a scratch folder and takes its baseline in the same run, so
that the ratios mean something on a busy machine too. `--quick` shows in a minute that everything still measures.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from tests.bench.containers import containers
from tests.bench.figures import Figure, chart, machine, table
from tests.bench.growth import growth
from tests.bench.latency import commit, successor
from tests.bench.loading import changed, cold, nothing
from tests.bench.reading import api
from tests.bench.throughput import sequence, steps
from tests.bench.waiting import polls, recovery


class Bench(Protocol):
    """Measures in `folder`, which is its own, and yields what it found."""

    def __call__(self, folder: Path, *, quick: bool) -> Iterable[Figure]: ...


BENCHES: dict[str, Bench] = {
    "steps": steps,
    "sequence": sequence,
    "successor": successor,
    "commit": commit,
    "cold": cold,
    "changed": changed,
    "nothing": nothing,
    "polls": polls,
    "recovery": recovery,
    "growth": growth,
    "api": api,
    "containers": containers,
}


_BEGIN, _END = "<!-- figures: begin -->", "<!-- figures: end -->"


def main() -> int:
    """0, or 1 if a bench could not be run to its end. That an aim is missed is printed, and is no failure."""
    options = _options()
    head = f"{machine()}. {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}."
    print(f"{head}\n", flush=True)
    figures: list[Figure] = []
    failed = 0
    for name in options.names or BENCHES:
        try:
            figures += _measured(BENCHES[name], quick=options.quick)
        except Exception as error:
            failed = 1
            print(f"{name} could not be measured: {type(error).__name__}: {error}", file=sys.stderr)
    print(table(figures))
    if options.write:
        _write(
            options.write, "\n\n".join([head, table(figures), *(chart(figure) for figure in figures if figure.series)])
        )
    return failed


def _write(file: Path, text: str) -> None:
    """Put `text` between the two marks of `file`."""
    before, _, rest = file.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    assert end, f"{file} has no {_BEGIN} {_END}"
    file.write_text(f"{before}{_BEGIN}\n{text}\n{_END}{after}", encoding="utf-8")


def _measured(bench: Bench, *, quick: bool) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-", ignore_cleanup_errors=True) as scratch:
        for figure in bench(Path(scratch), quick=quick):
            print(f"{figure.bench}: {figure.what}: {figure.here}, ratio {figure.ratio}", file=sys.stderr, flush=True)
            yield figure


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*BENCHES, []], help=", ".join(BENCHES))
    parser.add_argument("--quick", action="store_true", help="few rounds and small numbers: figures mean little")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into this page, between its marks")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
