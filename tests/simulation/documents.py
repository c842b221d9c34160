"""The files of a case: its workflows, jobs and tasks as documents that the real library reads (JSON is YAML)."""

import json
from typing import Any

from tests.simulation.case import Flow, Schedule, Step, Work

NAMESPACE = "demo"
_HOST = "http://target.example"


def flow_file(flow: Flow) -> str:
    """The workflow and the jobs that it uses, one document each."""
    steps = {step.name: _step(flow, step) for step in flow.steps}
    spec: dict[str, Any] = {"params": {"flag": {"type": "boolean", "default": True}}, "steps": steps}
    last = next((step.name for step in reversed(flow.steps) if step.works_itself), None)
    spec["outputs"] = {"value": f"steps.{last}.value" if last else "None"}
    if flow.exit:
        spec["onExit"] = _block(flow.exit, [f"steps.{flow.steps[0].name}.value"], flow.steps[0], inner=False)
    if flow.order:
        spec["flow"] = flow.order
    if flow.timeout:
        spec["timeout"] = f"{flow.timeout}s"
    if flow.limit:
        spec["concurrency"] = _rule(flow.limit, flow.group, flow.policy)
    jobs = [
        _document("Job", _job_name(flow, step, place), _block(work, ["params.x"], step, inner=True))
        for step in flow.steps
        for place, work in enumerate(step.works)
        if work.shared
    ]
    return "---\n".join([_document("Workflow", flow.name, spec), *jobs])


def control_file(name: str, control: dict[str, Any]) -> str:
    """What controls a task that a trigger made."""
    metadata = {"name": name, "namespace": NAMESPACE}
    return json.dumps({"apiVersion": "reconciler/v1", "kind": "Task", "metadata": metadata, "control": control}) + "\n"


def task_file(name: str, flow: str, control: dict[str, Any], policy: str = "finish", flag: bool = True) -> str:
    """A task that runs `flow`."""
    spec = {"workflow": flow, "with": {"flag": flag}}
    extra = {"control": control, "deletePolicy": policy}
    return _document("Task", name, spec, **extra)


def trigger_file(schedule: Schedule, cron: str, control: dict[str, Any]) -> str:
    """A trigger that makes tasks which run its flow; `cron` are its times if it has any."""
    spec: dict[str, Any] = {"task": {"workflow": schedule.flow}, "overlap": schedule.overlap}
    if cron:
        spec |= {"cron": cron, "timezone": schedule.zone, "missed": schedule.missed}
        spec |= {"within": f"{schedule.within}s"} if schedule.within else {}
    elif schedule.path:
        spec |= {"onCommit": {"paths": [schedule.path]}}
    else:
        spec |= {"onChange": True}
    return _document("Trigger", schedule.name, spec, **({"control": control} if control else {}))


def _document(kind: str, name: str, spec: dict[str, Any], **more: Any) -> str:
    metadata = {"name": name, "namespace": NAMESPACE}
    return json.dumps({"apiVersion": "reconciler/v1", "kind": kind, "metadata": metadata, "spec": spec, **more}) + "\n"


def _job_name(flow: Flow, step: Step, place: int) -> str:
    return f"{flow.name}-{step.name}-{place}"


def _step(flow: Flow, step: Step) -> dict[str, Any]:
    reads = [f"steps.{name}.value" for name in step.reads]
    options: dict[str, Any] = {"needs": list(step.needs)} if step.needs else {}
    if step.condition:
        options["if"] = step.condition
    if step.continue_on_error:
        options["continueOnError"] = True
    if step.approval:
        return {**options, "approval": {"message": "go on?"}}
    if step.pause is not None:
        return {**options, "wait": {"for": f"{step.pause}s"}}
    gathered = {"outputs": {"value": "results[0].value"}} if step.items else {}
    if step.items:
        options |= {"forEach": f"range({step.items})", "parallelism": step.parallelism or 50}
    if step.body:
        return {**options, "workflow": step.body, "with": {"flag": "${{ params.flag }}"}, **gathered}
    if len(step.works) == 1:
        return {**options, **_call(flow, step, 0, reads), **gathered}
    calls = {f"c{place}": _call(flow, step, place, reads) for place in range(len(step.works))}
    if step.timeout:
        options["timeout"] = f"{step.timeout}s"
    last = f"c{len(step.works) - 1}.value"
    value = f"results[0].{last}" if step.items else f"calls.{last}"
    return {**options, "calls": calls, "outputs": {"value": value}}


def _call(flow: Flow, step: Step, place: int, reads: list[str]) -> dict[str, Any]:
    work = step.works[place]
    if work.shared:
        return {"job": _job_name(flow, step, place), "with": {"x": _joined(reads)}}
    return _block(work, reads, step, inner=False)


def _rule(limit: int, group: str, policy: str) -> dict[str, Any]:
    return {"limit": limit, "policy": policy, **({"group": group} if group else {})}


def _joined(reads: list[str]) -> str:
    return " ".join(f"${{{{ {each} }}}}" for each in reads) or "-"


def _block(work: Work, reads: list[str], step: Step, *, inner: bool) -> dict[str, Any]:
    """A driver block with its options; the target reads its behaviour from the request."""
    about = {"fails": work.fails, "polls": work.polls, "seconds": work.seconds, "x": _joined(reads)}
    options: dict[str, Any] = {"outputs": {"value": "result.value"}, "every": "2s"}
    options |= {"params": {"x": {"type": "any", "default": None}}} if inner else {}
    options |= {"until": "result.ready"} if work.polls > 1 else {}
    options |= {"retry": {"limit": work.retry, "every": "1s", "backoff": 2}} if work.retry is not None else {}
    options |= {"timeout": f"{work.timeout}s"} if work.timeout else {}
    options |= {"maxCalls": work.max_calls} if work.max_calls else {}
    options |= {"onLost": work.on_lost} if work.on_lost else {}
    options |= {"concurrency": _rule(work.limit, work.group, work.policy)} if work.limit else {}
    found = not (step.items and len(step.works) == 1)  # a list has no targets that are found, which make one
    return {**options, **_driver(work, about, found=found)}


def _driver(work: Work, about: dict[str, Any], *, found: bool) -> dict[str, Any]:
    words = ["work", *(f"{name}={value}" for name, value in about.items())]
    match work.flavour:
        case "process":
            return {"process": {"command": words}}
        case "container" if found and work.targets:
            return {"container": {"exec": words, "in": {"names": [f"box{number}" for number in range(work.targets)]}}}
        case "container":
            return {"container": {"run": {"image": "box", "command": words}}}
    http: dict[str, Any] = {"url": f"{_HOST}/{work.flavour}", "query": about, "method": "POST"}
    extras: dict[str, dict[str, Any]] = {
        "get": {"method": "GET"},
        "verify": {"verify": {"url": f"{_HOST}/status", "found": "result.found", "result": "result.result"}},
        "exists": {"alreadyExists": "result.exists"},
        "idempotent": {"idempotent": True},
    }
    http |= extras.get(work.flavour, {})
    http |= {"cancel": {"url": f"{_HOST}/cancel"}} if work.cancel else {}
    return {"http": http}
