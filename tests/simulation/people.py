"""The people of a case: every operation becomes a commit, a moved branch, or nothing where it means nothing."""

import json
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from definitions.models import Control
from definitions.revision import ALLOW_PRUNE
from reconciler.plan.entry import control_json
from tests.simulation.answers import View, answer
from tests.simulation.case import Case, Flow, Operation
from tests.simulation.chance import Chance
from tests.simulation.documents import control_file, flow_file, task_file, trigger_file
from tests.simulation.generate_people import CROWD
from tests.simulation.source import Repository

_BROKEN = "apiVersion: reconciler/v1\nkind: Workflow\nmetadata: {name: broken}\nspec: [\n"


class People:
    """Who writes the files of a case."""

    def __init__(self, case: Case, repository: Repository, chance: Chance) -> None:
        self._chance = chance
        self._flows = {flow.name: flow for flow in case.flows}
        self._schedules = {each.name: each for each in case.schedules}
        self._repository = repository
        self._tasks: dict[str, dict[str, Any]] = {}
        self.written: dict[str, list[dict[str, Any]]] = {}  # by task: what commits ever said in its control
        self._before: list[dict[str, str]] = []

    def operate(self, operation: Operation, now: datetime, view: View | None = None) -> str:
        """Do it, and say so in one line. `view` is what its author saw, if the operation is about what was seen."""
        repository = self._repository
        said = f"{operation.kind} {operation.subject} {operation.value}".rstrip()
        if operation.kind == "force_push":
            moved = repository.force(1)
            return f"force push: back to {moved.oid[:12]}" if moved else f"{said}: no change"
        before = repository.files
        trailers = _trailers(operation, before)
        files = self._answered(operation, dict(before), view, now) if view else self._changed(operation, dict(before))
        if files == before and not trailers:
            return f"{said}: no change"
        self._before.append(before)
        commit = repository.commit(files, said, now, trailers)
        return f"commit {commit.oid[:12]}: {said}"

    def _answered(self, operation: Operation, files: dict[str, str], view: View, now: datetime) -> dict[str, str]:
        """Add to the control of a task, or of the task that a trigger made, what its author thinks of it."""
        name = view.name or operation.subject
        facts = self._facts(name)
        control = dict(facts["control"])
        if operation.kind == "until":
            at = now + timedelta(seconds=1 + 20 * self._roll(operation, "until"))
            control |= {"state": "suspended", "reason": "wait", "until": at.isoformat()}
        elif operation.kind == "repin":
            control |= {"repin": view.head} if view.head else {}
        elif said := answer(operation.kind, view, partial(self._roll, operation)):
            path, about = said
            steps = control.get("steps", {})
            control["steps"] = {**steps, path: {**steps.get(path, {}), **about}}
        if control == facts["control"]:
            return files
        facts["control"] = control
        return self._written(name, files)

    def _roll(self, operation: Operation, *about: object) -> float:
        return self._chance.roll(operation.kind, operation.subject, operation.at, *about)

    def _facts(self, name: str) -> dict[str, Any]:
        return self._tasks.setdefault(name, {"flow": "", "control": {}, "policy": "finish", "flag": True})

    def _wrote(self, name: str) -> None:
        control = Control.model_validate_json(json.dumps(self._facts(name)["control"]))
        self.written.setdefault(name, []).append(control_json(control))

    def _written(self, name: str, files: dict[str, str]) -> dict[str, str]:
        """The files with that of a task as its author wants it; what a trigger made has one only for its control."""
        facts = self._facts(name)
        path = f"moved/{name}.yaml" if f"moved/{name}.yaml" in files else f"{name}.yaml"
        self._wrote(name)
        if facts["flow"]:
            text = task_file(name, facts["flow"], facts["control"], facts["policy"], facts["flag"])
            return {**files, path: text} if path in files else files
        made = any(name.startswith(f"{each}-") for each in self._schedules)
        return {**files, path: control_file(name, facts["control"])} if made and files else files

    def _changed(self, operation: Operation, files: dict[str, str]) -> dict[str, str]:
        kind, name = operation.kind, operation.subject
        flow = self._flows.get(operation.value)
        if not files and kind == "add":
            files = {f"{each.name}.yaml": flow_file(each) for each in self._flows.values()}
            files |= {f"{each.name}.yaml": trigger_file(each, each.cron, {}) for each in self._schedules.values()}
        if kind == "calm" or name in self._schedules:
            return self._trigger(kind, name, operation.value, files)
        match kind:
            case "empty_tree":
                return {}
            case "revert":
                return self._before[-1] if self._before else files
            case "remove":
                return {path: text for path, text in files.items() if not path.endswith(f"{name}.yaml")}
            case "move":
                return {f"moved/{path}" if path == f"{name}.yaml" else path: text for path, text in files.items()}
            case "bad_file":
                return {**files, "bad.yaml": _BROKEN}
            case "bad_flow" if flow:
                return {**files, f"{flow.name}.yaml": _BROKEN.replace("broken", flow.name)}
            case "crowd" if flow and files:
                for number in range(CROWD):
                    self._facts(f"many{number}")["flow"] = flow.name
                    files |= {f"many{number}.yaml": task_file(f"many{number}", flow.name, {})}
                return files
            case "disperse":
                return {path: text for path, text in files.items() if not path.startswith("many")}
            case "mend":
                files.pop("bad.yaml", None)
                return {**files, **{f"{each.name}.yaml": flow_file(each) for each in self._flows.values()}}
            case "change" if flow:
                return {**files, f"{flow.name}.yaml": flow_file(flow).replace('"flag"', '"flag2"')}
        return self._task(kind, name, flow, files)

    def _trigger(self, kind: str, name: str, cron: str, files: dict[str, str]) -> dict[str, str]:
        """What people do to triggers; when it is to become calm, they take them away."""
        paths = [f"{each}.yaml" for each in (self._schedules if kind == "calm" else [name])]
        if kind in {"calm", "trigger_remove"}:
            return {path: text for path, text in files.items() if path not in paths}
        if not files:
            return files
        control = {"state": "suspended", "reason": "wait"} if kind == "trigger_suspend" else {}
        schedule = self._schedules[name]
        times = cron if kind == "trigger_change" and schedule.cron else schedule.cron
        return {**files, paths[0]: trigger_file(schedule, times, control)}

    def _task(self, kind: str, name: str, flow: Flow | None, files: dict[str, str]) -> dict[str, str]:
        facts = self._facts(name)
        path = f"moved/{name}.yaml" if f"moved/{name}.yaml" in files else f"{name}.yaml"
        match kind:
            case "add":
                facts["flow"] = facts["flow"] or (flow.name if flow else "")
            case "drift":
                facts["flag"] = not facts["flag"]
            case "policy":
                facts["policy"] = "revoke"
            case "suspend":
                facts["control"] |= {"state": "suspended", "reason": "wait"}
            case "resume":
                facts["control"] |= {"state": "running"}
                facts["control"].pop("until", None)
            case "revoke":
                facts["control"] |= {"state": "revoked", "reason": "enough"}
            case "run":
                facts["control"] |= {"run": facts["control"].get("run", 1) + 1, "state": "running"}
        if not facts["flow"] or (kind != "add" and path not in files):
            return files
        self._wrote(name)
        return {**files, path: task_file(name, facts["flow"], facts["control"], facts["policy"], facts["flag"])}


def _trailers(operation: Operation, files: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """What a commit says that means it when it takes files away: so many as there may be, or too few."""
    said = {"confirm": str(CROWD + 3), "confirm_few": "1"}.get(operation.kind)
    return ((ALLOW_PRUNE, said),) if said and files else ()
