"""The controller under SIGKILL at random moments of a workflow that works in containers: nothing runs twice, nothing is lost."""

import json
import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from state.phases import AttemptPhase, TaskPhase
from tests.controllers import Controller, found, job, task
from tests.engines import IMAGE, TestEngine, definitions_in

KILLS = int(os.environ.get("KILLS", "10"))
SEED = int(os.environ.get("SEED", "1"))
WORKFLOW = """\
apiVersion: reconciler/v1
kind: Workflow
metadata: {{name: both}}
spec:
  steps:
    before: {{job: exec, with: {{step: before}}}}
    made: {{job: run, with: {{step: made}}, needs: [before]}}
    quiet: {{job: quiet, with: {{step: quiet}}, needs: [before]}}
    after: {{job: exec, with: {{step: after}}, needs: [made, quiet]}}
---
"""
SCRIPT = 'echo "$1 $(hostname)" >>/shared/count; sleep 0.3; echo "$1" done'
TARGETS = 3


def definitions(engine: TestEngine, folder: Path, name: str) -> Path:
    words = ["sh", "-c", SCRIPT, "x", "${{ params.step }}"]
    inside = {"exec": words, "in": {"labels": {"app": engine.mark}}}
    mounts = [{"source": str(folder), "target": "/shared", "readOnly": False}]
    outside = {"run": {"image": IMAGE, "command": words, "mounts": mounts}}
    params = "params: {step: string}"
    jobs = [
        job("exec", f"container: {json.dumps(inside)}", params),
        job("quiet", f"container: {json.dumps({**inside, 'stdin': 'x', 'args': ['y']})}", params),
        job("run", f"container: {json.dumps(outside)}", params),
    ]
    return definitions_in(folder, *jobs, WORKFLOW.format(), task(name, "workflow: both"))


def allow(folder: Path) -> tuple[str, ...]:
    """Flags that let containers see the test's folder."""
    settings = folder / "settings.yaml"
    settings.write_text(json.dumps({"policy": {"rules": [{"mounts": [str(folder)]}]}}))
    return ("--settings", str(settings))


@pytest.mark.timeout(60 + 10 * KILLS)
def test_a_controller_that_is_killed_at_any_moment_runs_each_command_one_time(engine, tmp_path) -> None:
    chance, told = random.Random(SEED), Counter[str]()
    while told["kills"] < KILLS:
        folder = tmp_path / f"round{told['rounds']}"
        folder.mkdir(mode=0o777)
        for _ in range(TARGETS):
            engine.container(labels={"app": engine.mark}, Binds=[f"{folder}:/shared"])

        told["rounds"] += 1
        told += one_round(engine, folder, chance)

        engine.clear()
    print(f"\nseed {SEED}: {dict(told)}")
    assert told["twice"] == told["lost"] == told["unfinished"] == 0
    assert told["executed"] == told["rounds"] * (3 * TARGETS + 1)


def one_round(engine: TestEngine, folder: Path, chance: random.Random) -> Counter[str]:
    """Killed one to three times, then left alone to its end; what became of it all."""
    source, state = f"dir:{definitions(engine, folder, 'one')}", folder / "state"
    flags, told = allow(folder), Counter[str]()
    for _ in range(chance.randint(1, 3)):
        with Controller(source, state, *flags, "--until-idle") as controller:
            controller.started()
            time.sleep(chance.uniform(0.0, 2.5))
            told["kills"] += controller.process.poll() is None
    told["adopted"] += in_flight(state)
    with Controller(source, state, *flags, "--until-idle") as controller:
        controller.wait(60)
        engine.adopt(state)
    done = found(state, "one")
    assert done is not None
    told["unfinished"] += done.record.phase is not TaskPhase.FINISHED
    told["lost"] += sum(each.phase is AttemptPhase.LOST for each in done.attempts.values())
    ran = Counter((folder / "count").read_text().splitlines())
    told["executed"] += len(ran)
    told["twice"] += sum(count > 1 for count in ran.values())
    told["left"] += len(engine.names())
    assert not told["twice"] and not told["unfinished"] and not told["left"], (ran, done.steps, controller.text[-3000:])
    return told


def in_flight(state: Path, name: str = "one") -> int:
    """How many attempts of a task the next controller has to take over."""
    task_ = found(state, name)
    return sum(not each.ended for each in task_.attempts.values()) if task_ else 0
