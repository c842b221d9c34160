"""What a person means who answers for a step without naming what was seen: the failure, or the plan, that status shows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reconciler.cli.client import Client, get
from reconciler.cli.failure import Failure

Step = Mapping[str, Any]
_BROKEN = frozenset({"FAILED", "REVOKED"})
"""The states of a step that failed, or was cut off with the time of its task."""


def times_failed(client: Client, title: str, path: str) -> int:
    """How often the step at `path` of the task `namespace/name` failed, if it has. Raises Failure if not."""
    status = get(client, f"/tasks/{title}")["status"]
    step = _find(status, title, path)
    if status["state"] == "REVOKED":
        raise Failure(f"{title} is revoked, which is final; `reconciler rerun {title}` starts it anew")
    if step["state"] not in _BROKEN:
        raise Failure(f"{path} of {title} has not failed, it is {step['state']}; there is nothing to retry")
    if not step["attempt"] and (parts := _failed_parts(step)):
        raise Failure(f"{path} of {title} failed with what it runs; say it of {' or '.join(parts)}")
    if step["reason"] == "Lost":
        raise Failure(
            f"nobody knows what became of attempt {step['attempt']} of {path}; say it with `reconciler resolve {title} "
            f"{path} --attempt {step['attempt']} --as succeeded|failed --reason …`"
        )
    return int(step["failed"])


def pending_plan(client: Client, title: str, path: str) -> str:
    """The digest that the step at `path` of the task `namespace/name` waits to be approved. Raises Failure if it does not."""
    step = _find(get(client, f"/tasks/{title}")["status"], title, path)
    if "plan" not in step:
        raise Failure(f"{path} of {title} waits for no approval, it is {step['state']} ({step['reason']})")
    return str(step["plan"])


def _find(status: Mapping[str, Any], title: str, path: str) -> Step:
    steps = list(_walk(status["steps"]))
    step = next((each for each in steps if each["path"] == path), None)
    if step is None:
        raise Failure(
            f"{title} has no step {path}; its steps are {', '.join(each['path'] for each in steps) or 'none'}"
        )
    return step


def _walk(steps: Sequence[Step]) -> Iterator[Step]:
    for step in steps:
        yield step
        yield from _walk(step.get("steps") or ())


def _failed_parts(step: Step) -> list[str]:
    """The innermost of what it runs that failed of itself; what the time of the task cut off goes on with it."""
    parts = [each for each in step.get("steps") or () if each["state"] == "FAILED"]
    return [path for each in parts for path in _failed_parts(each) or [each["path"]]]
