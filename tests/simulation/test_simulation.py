import hashlib
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from state.phases import TaskPhase
from tests.simulation.campaign import Tally, play_seeds, replaying, single_crashes
from tests.simulation.canonical import CASES
from tests.simulation.case import KINDS, Case, Flow, Operation, Step, Work
from tests.simulation.generate import generate
from tests.simulation.play import play
from tests.simulation.shrink import shrink

SEEDS = 2000
CHUNKS = 20
CORPUS = Path(__file__).parents[1] / "corpus"
ROOT = Path(__file__).parents[2]
DIGEST = """
import hashlib
from tests.simulation.generate import generate
from tests.simulation.play import play
lines = [line for seed in range(12) for line in play(generate(seed)).history]
print(hashlib.sha256("\\n".join(lines).encode()).hexdigest())
"""


@pytest.fixture
def shared(tmp_path_factory, worker_id):
    """A folder that all workers of this run see."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "campaign"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_whatever_fails_no_invariant_breaks_and_all_comes_to_rest(chunk, shared):
    size = SEEDS // CHUNKS
    tally = play_seeds(range(chunk * size, (chunk + 1) * size))

    assert not tally.failed, [f"{text[:300]} -> {replaying(case.seed)}" for case, text in tally.failed]
    _keep(shared, chunk, tally)
    parts = list(shared.glob("*.txt"))
    if len(parts) == CHUNKS:
        assert not _sum(parts).missing, "a campaign that never reached these proves nothing about them"


def _keep(folder: Path, chunk: int, tally: Tally) -> None:
    part = folder / f"{chunk}.part"
    part.write_text("\n".join(tally.reached))
    part.replace(folder / f"{chunk}.txt")


def _sum(parts: list[Path]) -> Tally:
    return Tally(reached=Counter(name for part in parts for name in part.read_text().splitlines()))


@pytest.mark.parametrize("file", sorted(CORPUS.glob("*.json")), ids=lambda file: file.stem)
def test_what_failed_once_never_fails_again(file):
    case = Case.from_json(file.read_text(encoding="utf-8"))

    assert play(case).violation == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_crash_at_any_point_changes_nothing_about_the_end(name):
    calm = play(CASES[name])
    ends = {TaskPhase.FINISHED, TaskPhase.REVOKED}
    assert not calm.violation
    assert set(calm.ends.values()) <= ends

    for case, outcome, _ in single_crashes(name):
        assert not outcome.violation, (case.crash_at, outcome.violation)
        if outcome.ends != calm.ends:
            assert name == "a post", (case.crash_at, outcome.ends)  # its outcome may be unknown for ever
            assert set(outcome.ends.values()) == {TaskPhase.FAILED}
            assert outcome.reached["attempt lost"]


def test_the_same_seed_is_the_same_history_whatever_the_hash_seed():
    digests = {_digest(seed) for seed in ("0", "1", "4242")}
    lines = [line for seed in range(12) for line in play(generate(seed)).history]

    assert digests == {hashlib.sha256("\n".join(lines).encode()).hexdigest()}


def _digest(hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", DIGEST], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    return ran.stdout.strip()


@pytest.mark.parametrize("seed", range(5))
def test_a_case_is_the_same_after_it_was_written_down(seed):
    case = generate(seed)

    assert Case.from_json(case.to_json()) == case


def test_people_do_everything_that_there_is_to_do():
    assert {operation.kind for seed in range(1000) for operation in generate(seed).operations} == set(KINDS)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"faults": frozenset({"crash", "unheard"})}, "faults: unheard"),
        ({"operations": (Operation(0.0, "ad", "t0", "flow0"),)}, "kinds of operations: ad"),
        ({"flows": (Flow("flow0", (Step("a", (Work("gets"),)),)),)}, "flavours: gets"),
    ],
)
def test_a_case_that_asks_for_what_there_is_not_does_not_pass_for_a_good_one(part, said):
    with pytest.raises(ValueError, match=f"there are no such {said}"):
        replace(generate(0), **part)


def test_a_start_without_an_intent_on_disk_is_found_and_made_small(monkeypatch):
    from tests.simulation import oracle

    monkeypatch.setattr(oracle.Oracle, "_intended", _never_intended)
    case = next(case for case in map(generate, range(100)) if play(case).violation)

    small = shrink(case, plays=60)

    assert play(small).violation.startswith("I0")
    assert len(small.operations) == 1
    assert not small.faults


def _never_intended(self, process, attempt, at) -> None:
    raise self._broken("I0 an attempt began (planted)")
