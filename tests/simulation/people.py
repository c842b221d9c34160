"""The people of a case: every operation becomes a commit, a moved branch, or nothing where it means nothing."""

from datetime import datetime
from typing import Any

from tests.simulation.case import Case, Flow, Operation
from tests.simulation.documents import flow_file, task_file, trigger_file
from tests.simulation.source import Repository

_BROKEN = "apiVersion: reconciler/v1\nkind: Workflow\nmetadata: {name: broken}\nspec: [\n"


class People:
    """Who writes the files of a case."""

    def __init__(self, case: Case, repository: Repository) -> None:
        self._flows = {flow.name: flow for flow in case.flows}
        self._schedules = {each.name: each for each in case.schedules}
        self._repository = repository
        self._tasks: dict[str, dict[str, Any]] = {}
        self._before: list[dict[str, str]] = []

    def operate(self, operation: Operation, now: datetime) -> str:
        """Do it, and say so in one line."""
        repository = self._repository
        said = f"{operation.kind} {operation.subject} {operation.value}".rstrip()
        if operation.kind == "force_push":
            repository.force(1)
            return f"force push: back to {repository.head.oid[:12] if repository.head else 'nothing'}"
        before = repository.files
        files = self._changed(operation, dict(before))
        if files == before:
            return f"{said}: no change"
        self._before.append(before)
        commit = repository.commit(files, said, now)
        return f"commit {commit.oid[:12]}: {said}"

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
        facts = self._tasks.setdefault(name, {"flow": "", "control": {}, "policy": "finish", "flag": True})
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
            case "revoke":
                facts["control"] |= {"state": "revoked", "reason": "enough"}
            case "run":
                facts["control"] |= {"run": facts["control"].get("run", 1) + 1, "state": "running"}
        if not facts["flow"] or (kind != "add" and path not in files):
            return files
        return {**files, path: task_file(name, facts["flow"], facts["control"], facts["policy"], facts["flag"])}
