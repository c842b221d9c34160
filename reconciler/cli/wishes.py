"""What each verb makes of the control part of a file: values in, values out, and the words for the commit.

A wish that is fulfilled already gives back what it got, so that nothing is written; one that cannot be fulfilled any
more is refused here, before a commit that the controller would only answer with a remark.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.cli.failure import Failure

Control = Mapping[str, Any]

_SHOWN = len("sha256:") + 12  # of a digest in a subject; the file has all of it


@dataclass(frozen=True, slots=True)
class Wish:
    """One verb with its arguments. `verb` begins the subject of the commit, `about` the wanted control ends it.

    `change` takes `namespace/name` and the control that is there, and gives the control that is wanted; it raises
    Failure where that makes no sense. `fulfilled` says of a file that it needs no change, `aside` what there is to say
    of the control that was there.
    """

    verb: str
    about: Callable[[Control], str]
    fulfilled: str
    change: Callable[[str, Control], Control]
    aside: Callable[[Control], str] = lambda _: ""

    def subject(self, whom: str, wanted: Control) -> str:
        """The first line of the message of a commit that makes `wanted` the control of `whom`, or of several ({})."""
        return " ".join(f"{self.verb} {whom}{self.about(wanted)}".split())


def suspend(reason: str, until: str | None) -> Wish:
    """No further step is started; what runs goes on to its end."""

    def change(title: str, control: Control) -> Control:
        _require_live(title, control)
        wanted = {**_without(control, "until"), "state": "suspended", "reason": reason}
        return {**wanted, "until": until} if until else wanted

    return Wish("Suspend", lambda _: f": {reason}", "is suspended with this reason already", change)


def resume() -> Wish:
    """What was suspended goes on."""

    def change(title: str, control: Control) -> Control:
        _require_live(title, control)
        if control.get("state", "running") == "running":
            return control
        return {**_without(control, "reason", "until"), "state": "running"}

    return Wish("Resume", lambda _: "", "is not suspended by its file", change)


def revoke(reason: str) -> Wish:
    """What runs is stopped, and nothing is started any more."""

    def change(title: str, control: Control) -> Control:
        del title
        if control.get("state") == "revoked":
            return control
        return {**_without(control, "until"), "state": "revoked", "reason": reason}

    return Wish("Revoke", lambda _: f": {reason}", "is revoked already", change)


def rerun() -> Wish:
    """All of it again; what was asked of the run before, down to its steps, does not go for the new one."""

    def change(title: str, control: Control) -> Control:
        del title
        return {"run": int(control.get("run", 1)) + 1}

    def aside(control: Control) -> str:
        gone = [name for name in control if name not in {"run", "steps"}]
        gone += [f"steps.{path}.{verb}" for path in _steps(control) for verb in _step(control, path)]
        return f"taken out, because it was about run {control.get('run', 1)}: {', '.join(gone)}" if gone else ""

    return Wish("Rerun", lambda wanted: f": run {wanted['run']}" if wanted else "", "", change, aside)


def retry(step: str, failed: Callable[[str], int], reason: str | None = None) -> Wish:
    """One attempt more; `failed` gives how often the step has failed, for `namespace/name`.

    Another number that is there was not seen by whoever wrote it, or not by the controller: it is replaced. The same
    number stays with the reason that it has.
    """

    def change(title: str, control: Control) -> Control:
        number, there = failed(title), _step(control, step).get("retry", {})
        if there.get("failed") == number and reason is None:
            return control
        return _with(control, step, "retry", {"failed": number, **({"reason": reason} if reason else {})})

    def about(wanted: Control) -> str:
        seen = _step(wanted, step).get("retry")
        return f" {step}" + (f" after failure {seen['failed']}" if seen else "")

    again = (
        f"asks for this retry of {step} already; with another --reason it is asked anew, should it have been refused"
    )
    return Wish("Retry", about, again, change)


def skip(step: str, reason: str, outputs: Control) -> Wish:
    """The step counts as finished, with these outputs."""
    wanted = {"reason": reason, **({"outputs": dict(outputs)} if outputs else {})}
    return Wish(
        "Skip",
        lambda _: f" {step}: {reason}",
        f"asks to skip {step} already",
        lambda _, control: _with(control, step, "skip", wanted),
    )


def resolve(step: str, attempt: int, outcome: str, reason: str, outputs: Control) -> Wish:
    """What became of an attempt that was lost."""
    wanted = {"attempt": attempt, "as": outcome, "reason": reason, **({"outputs": dict(outputs)} if outputs else {})}
    return Wish(
        "Resolve",
        lambda _: f" {step} attempt {attempt} as {outcome}: {reason}",
        f"resolves {step} so already",
        lambda _, control: _with(control, step, "resolve", wanted),
    )


def approve(step: str, plan: Callable[[str], str]) -> Wish:
    """The step may go on, if what it was reached with is still what the digest names that `plan` gives for a task."""

    def about(wanted: Control) -> str:
        seen = _step(wanted, step).get("approve")
        return f" {step}" + (f": {seen['plan'][:_SHOWN]}" if seen else "")

    return Wish(
        "Approve",
        about,
        f"approves {step} already",
        lambda title, control: _with(control, step, "approve", {"plan": plan(title)}),
    )


def _require_live(title: str, control: Control) -> None:
    if control.get("state") == "revoked":
        raise Failure(f"{title} is revoked, which is final; `reconciler rerun {title}` starts it anew")


def _without(control: Control, *names: str) -> dict[str, Any]:
    return {name: value for name, value in control.items() if name not in names}


def _steps(control: Control) -> dict[str, Any]:
    found = control.get("steps")
    return found if isinstance(found, dict) else {}


def _step(control: Control, step: str) -> dict[str, Any]:
    found = _steps(control).get(step)
    return found if isinstance(found, dict) else {}


def _with(control: Control, step: str, name: str, value: Control) -> Control:
    return {**control, "steps": {**_steps(control), step: {**_step(control, step), name: value}}}
