"""`python -m tests.simulation run|replay|pairs`: campaigns of seeds, the readable history of one, and crash pairs."""

import os
import time
from collections.abc import Iterable
from itertools import chain, count
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.status import Status
from rich.table import Table

from tests.arguments import ROOT
from tests.simulation.campaign import Tally, campaign, crash_pairs, replaying
from tests.simulation.canonical import CASES
from tests.simulation.case import Case
from tests.simulation.generate import generate
from tests.simulation.play import play
from tests.simulation.shrink import shrink
from tests.simulation.sometimes import SOMETIMES

CORPUS = ROOT / "tests" / "corpus"
SHRUNK = 3
TOLD = 10
"""So many violations are told in words."""

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
console = Console()


@app.command()
def run(
    seeds: Annotated[int, typer.Option(min=1, help="how many seeds")] = 2000,
    start: Annotated[int, typer.Option(min=0, help="the first seed")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="processes")] = os.cpu_count() or 1,
    shrunk: Annotated[
        int, typer.Option(min=0, help="how many failures, the first ones, to make small and keep in the corpus")
    ] = SHRUNK,
) -> None:
    """Play a campaign; 1 if an invariant broke or something that must sometimes happen did not, or hardly ever.

    Interrupted, it says what it has found so far and ends with 130.
    """
    began = time.monotonic()
    tally = Tally()
    with _progress() as progress:
        task = progress.add_task("seeds", total=seeds, rate="", failed=0)

        def told(so_far: Tally) -> None:
            nonlocal tally
            tally = so_far
            rate = tally.played / (time.monotonic() - began)
            progress.update(task, completed=tally.played, rate=f"{rate:.0f} seeds/s", failed=len(tally.failed))
            if not console.is_terminal and tally.played % 1000 == 0:
                console.print(f"{tally.played} seeds, {rate:.0f} a second, {len(tally.failed)} violations")

        try:
            campaign(start, seeds, workers, told)
        except KeyboardInterrupt:
            progress.stop()
            _failures(tally)
            _sum(tally, time.monotonic() - began)
            raise typer.Exit(130) from None
    _report(tally, time.monotonic() - began)
    for case, _ in tally.failed[:shrunk]:
        _keep(case)
    raise typer.Exit(1 if tally.failed or tally.missing else 0)


@app.command()
def replay(
    what: Annotated[str, typer.Argument(help="a seed, a file of the corpus, or the name of a workflow")],
) -> None:
    """Print the history of one case: commits, actions, faults, observations."""
    outcome = play(_case(what))
    for line in outcome.history:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(f"{outcome.points} yield points; {outcome.violation or 'every invariant holds'}", markup=False)
    raise typer.Exit(1 if outcome.violation else 0)


@app.command()
def pairs(
    name: Annotated[str, typer.Argument(help="a workflow; all of them without")] = "",
    workers: Annotated[int, typer.Option(min=1, help="processes")] = os.cpu_count() or 1,
) -> None:
    """Crash the canonical workflows at every two of their yield points; 1 if an invariant broke."""
    if name and name not in CASES:
        raise typer.BadParameter(f"{name!r} is none of the workflows {', '.join(CASES)}")
    total = Tally()
    for each in [name] if name else CASES:
        began = time.monotonic()
        with console.status(each) as shown:

            def told(so_far: Tally, name: str = each, shown: Status = shown) -> None:
                shown.update(f"{name}: {so_far.played} pairs, {len(so_far.failed)} violations")

            tally = crash_pairs(each, workers, told)
        seconds = time.monotonic() - began
        console.print(f"{each}: {tally.played} pairs, {len(tally.failed)} violations, {seconds:.0f} s", markup=False)
        total.add(tally)
    for case, violation in total.failed[:TOLD]:
        console.print(f"{case.crash_at}: {violation}", markup=False)
    for case, _ in total.failed[:SHRUNK]:
        _keep(case)
    raise typer.Exit(1 if total.failed else 0)


def _case(what: str) -> Case:
    if what.isascii() and what.isdigit():
        return generate(int(what))
    if what in CASES:
        return CASES[what]
    file = _file(what)
    try:
        return Case.from_json(file.read_text(encoding="utf-8"))
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise typer.BadParameter(f"{file} is no case that was written down: {type(error).__name__} {error}") from error


def _file(what: str) -> Path:
    """A case that was written down: its path, or its name in the corpus. Ends the command where there is none."""
    for file in (Path(what), ROOT / what, CORPUS / f"{what}.json"):
        if file.is_file():
            return file
    raise typer.BadParameter(f"{what!r} is no seed, no workflow of {', '.join(CASES)}, and no file")


def _keep(case: Case) -> None:
    """Make a failing case small, keep it for ever, and say how to see it again."""
    CORPUS.mkdir(exist_ok=True)
    crashes = "".join(f"-{point}" for point in case.crash_at)
    names = (f"seed-{case.seed}{crashes}{again}.json" for again in chain([""], (f"-again{n}" for n in count(2))))
    file = next(each for name in names if not (each := CORPUS / name).exists())
    file.write_text(shrink(case).to_json(), encoding="utf-8")
    console.print(f"made small: {replaying(file.relative_to(ROOT))}", markup=False, soft_wrap=True)


def _report(tally: Tally, seconds: float) -> None:
    table = Table("crash points and branches", "times", box=None)
    missing = tally.missing
    for name in sorted(SOMETIMES):
        table.add_row(name, str(tally.reached[name]), style="red" if name in missing else "")
    console.print(table)
    _failures(tally)
    _list("not reached, or not often enough", missing)
    console.print(f"{len(SOMETIMES) - len(missing)} of the {len(SOMETIMES)} things that must happen did")
    _sum(tally, seconds)


def _failures(tally: Tally) -> None:
    for case, violation in tally.failed[:TOLD]:
        told = f"seed {case.seed}: {violation[:300]}; {replaying(case.seed)}"
        console.print(told, markup=False, style="red", soft_wrap=True)
    if others := [str(case.seed) for case, _ in tally.failed[TOLD:]]:
        console.print(f"also seeds {', '.join(others)}", style="red", soft_wrap=True)


def _sum(tally: Tally, seconds: float) -> None:
    crashes = sum(times for name, times in tally.reached.items() if name.startswith("crash at "))
    console.print(
        f"{tally.played} seeds in {seconds:.0f} s ({tally.played / seconds:.0f} a second), {tally.reached['tick']} ticks, "
        f"{tally.turns} yield points, {crashes} crashes, {len(tally.failed)} violations",
        soft_wrap=True,
    )


def _list(what: str, names: Iterable[str]) -> None:
    for name in names:
        console.print(f"{what}: {name}", style="red")


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rate]}, {task.fields[failed]} violations"),
        console=console,
    )


if __name__ == "__main__":
    app()
