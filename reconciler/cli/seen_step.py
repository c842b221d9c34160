"""What a person means who answers for a step without naming what was seen: the failed attempt, or the plan, of status."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reconciler.cli.client import Client, get
from reconciler.cli.failure import Failure

Step = Mapping[str, Any]


def failed_attempt(client: Client, title: str, path: str) -> int:
    """The latest attempt of the step at `path` of the task `namespace/name`, if it failed. Raises Failure if not."""
    step = _find(client, title, path)
    if step["state"] != "FAILED":
        raise Failure(f"{path} of {title} has not failed, it is {step['state']}; there is nothing to retry")
    if step["reason"] == "Lost":
        raise Failure(
            f"nobody knows what became of attempt {step['attempt']} of {path}; say it with `reconciler resolve {title} "
            f"{path} --attempt {step['attempt']} --as succeeded|failed --reason …`"
        )
    if not step["attempt"]:
        raise Failure(f"{path} of {title} made no attempt of its own; {_instead(title, step)}")
    return int(step["attempt"])


def pending_plan(client: Client, title: str, path: str) -> str:
    """The digest that the step at `path` of the task `namespace/name` waits to be approved. Raises Failure if it does not."""
    step = _find(client, title, path)
    if "plan" not in step:
        raise Failure(f"{path} of {title} waits for no approval, it is {step['state']} ({step['reason']})")
    return str(step["plan"])


def _find(client: Client, title: str, path: str) -> Step:
    steps = list(_walk(get(client, f"/tasks/{title}")["status"]["steps"]))
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


def _instead(title: str, step: Step) -> str:
    failed = [each["path"] for each in _walk(step.get("steps") or ()) if each["state"] == "FAILED"]
    return f"retry {' or '.join(failed)}" if failed else f"`reconciler why {title}` says what failed"
