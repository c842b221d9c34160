"""Who, why and which bytes: the facts of the API's documents as rows and sentences for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.cli import render
from reconciler.shortening import shortened

Answer = Mapping[str, Any]
_SHORT = 10
_DECIDED = {
    "SUSPENDED": {"suspended": "suspended", "removed": "removed"},
    "REVOKED": {"revoking": "revoked", "revoked": "revoked"},
}
"""By state: the phases that a task is brought to by somebody's commit."""


def _line(text: str) -> str:
    return shortened(render.inert(text))


def short(commit: str | None) -> str:
    """A commit as people write it; a folder's digest keeps its `dir:`."""
    text = commit or ""
    return text[: len("dir:") + _SHORT] if text.startswith("dir:") else text[:_SHORT]


def sentences(task: Answer, history: Sequence[Answer], wrong: str = "", still: str = "") -> list[str]:
    """Why a task is where it is: the sentence, its steps that wait or failed, its source, its last change.

    `wrong` is what its file is rejected for, `still` why no later commit counts.
    """
    status = task["status"]
    name = f"{task['metadata']['namespace']}/{task['metadata']['name']}"
    head = f"{name} is {status['state']}" + (f" ({status['reason']})" if status.get("reason") else "")
    found = [_line(head + (f": {status['message']}" if status.get("message") else ""))]
    found += [f"  {line}" for line in _open_steps(status.get("steps") or (), status.get("message") or "")]
    found += _decided_by(status, history)
    found += facts(task)
    found += [_line(f"its file is rejected, and its last good version counts: {wrong}")] * bool(wrong)
    found += [_line(f"no later commit is in force: {still}")] * bool(still)
    return found + ([f"last change: {_change(history[-1])}"] if history else [])


def reasons(task: Answer, history: Sequence[Answer]) -> dict[str, Any]:
    """The same for programs."""
    status = task["status"]
    kept = ("state", "reason", "message", "conditions", "source", "steps")
    return {
        "metadata": task["metadata"],
        **{key: status.get(key) for key in kept},
        "lastChange": history[-1] if history else None,
    }


def _open_steps(steps: Sequence[Answer], known: str) -> list[str]:
    """The steps that say why they are not finished, the innermost only, but for the one that `known` begins with."""
    found: list[str] = []
    for step in steps:
        below = _open_steps(step.get("steps") or (), known)
        found += below
        said = step.get("message")
        if not below and step["state"] != "FINISHED" and said and not known.startswith(said):
            found.append(_line(f"{step['path']} is {step['state']}: {step['message']}"))
    return found


def _decided_by(status: Answer, history: Sequence[Answer]) -> list[str]:
    """Whose commit suspended, removed or revoked the task, who is seldom the author of its file."""
    words = _DECIDED.get(status["state"], {})
    own = (each for each in history if each.get("subject") == "task")
    found = [each for each in own if each.get("after") in words and each.get("before") not in words]
    cause = (found[-1].get("cause") or {}) if found else {}
    if cause.get("kind") != "commit":
        return []
    said = f" “{cause['message']}”" if cause.get("message") else ""
    who = cause.get("author") or "?"
    return [_line(f"{words[found[-1]['after']]} by: {who} in {short(cause.get('reference'))}{said}")]


def facts(task: Answer) -> list[str]:
    """Where a task comes from and what it says about itself."""
    status = task["status"]
    found = _desired(status, task["metadata"]["run"])
    if outputs := render.values(status.get("outputs")):
        found.append(f"outputs: {outputs}")
    known = status.get("message")
    said = [each for each in status.get("conditions") or () if each.get("message") and each["message"] != known]
    found += [f"{each['type']}={each['status']}: {each['message']}" for each in said]
    return [_line(line) for line in found]


def _desired(status: Answer, number: int) -> list[str]:
    """Who asked for the run and who wrote the bytes that it began with: often one commit, and not always."""
    source, asked = status.get("source") or {}, status.get("asked") or {}
    run, repin = asked.get(f"run.{number}") or {}, asked.get("repin")
    found = [f"desired by: {_origin(source)}"]
    if run.get("kind") == "commit" and run["reference"] != source.get("commit"):
        found = [f"desired by: {_place(source)} at {_by(run)}", f"as written at: {_at(source)}"]
    if pinned := status.get("repinned"):
        who = f", asked for at {_by(repin)}" if repin and (status.get("control") or {}).get("repin") == pinned else ""
        found.append(f"continues with: the definitions at {short(pinned)}{who}")
    return found


def _origin(source: Answer) -> str:
    return f"{_place(source)} at {_at(source)}"


def _place(source: Answer) -> str:
    trigger = f"the trigger {source['trigger']} in " if source.get("trigger") else ""
    return trigger + (source.get("path") or "?")


def _at(source: Answer) -> str:
    """Commit, subject, author and blob."""
    said = {"reference": source.get("commit"), "message": source.get("subject"), "author": source.get("author")}
    return _by(said) + (f" (blob {short(source['blob'])})" if source.get("blob") else "")


def _by(cause: Answer) -> str:
    subject = f" “{cause['message']}”" if cause.get("message") else ""
    author = f" by {cause['author']}" if cause.get("author") else ""
    return f"{short(cause.get('reference')) or '?'}{subject}{author}"


def _change(event: Answer) -> str:
    return _line("  ".join(str(cell) for cell in event_row(event) if cell))


def event_row(event: Answer) -> tuple[object, ...]:
    """Time, what, change, cause and message of an event."""
    what = event.get("path") or event.get("subject")
    what = " ".join(part for part in ("trigger", event.get("path")) if part) if event.get("trigger") else what
    number = f"#{event['attempt']}" if event.get("attempt") else ""
    change = " → ".join(part for part in (event.get("before"), event.get("after")) if part)
    cause = event.get("cause") or {}
    return (
        event.get("at"),
        f"{what}{number}",
        change,
        " ".join(part for part in (cause.get("kind"), _reference(cause), cause.get("author")) if part),
        said(event.get("reason") or "", event.get("message") or ""),
    )


def _reference(cause: Answer) -> str:
    """What asked for a change: a commit in short, which call of the attempt was answered, what people named as it is."""
    reference = cause.get("reference") or ""
    if cause.get("kind") == "observation":
        return f"of call {reference.rpartition('/')[2]}"
    return short(reference) if cause.get("kind") == "commit" else reference


def event_subject(event: Answer) -> str:
    """Whose change it is, as `namespace/name`."""
    return "/".join(part for part in (event.get("namespace"), event.get("task") or event.get("trigger")) if part)


def said(reason: str, message: str) -> str:
    """Reason and message of a change, where the message does not begin with the reason."""
    return message if reason and message.casefold().startswith(reason.casefold()) else f"{reason} {message}".strip()


def source_row(source: Answer) -> tuple[object, ...]:
    """Name, ref, path, commit, author and what its conditions say."""
    spec, status = source["spec"], source["status"]
    revision = status["revision"]
    told = [each for each in status["conditions"] if each["type"] != "Ready"] or status["conditions"]
    said = [f"{each['type']}={each['status']} {each.get('message') or ''}".strip() for each in told]
    place = (source["metadata"]["name"], spec["ref"], spec["path"])
    return (*place, short(revision["commit"]), revision["author"], "; ".join(said))


def definition_row(definition: Answer) -> tuple[object, ...]:
    """Kind, namespace, name, accepted, file and problems."""
    status, metadata = definition["status"], definition["metadata"]
    problems = [f"{each['line']}:{each['column']} {each['code']} {each['message']}" for each in status["problems"]]
    return (
        definition["kind"],
        metadata["namespace"],
        metadata["name"],
        "yes" if status["accepted"] else "no",
        status["source"]["path"],
        "; ".join(problems),
    )


def revision_row(revision: Answer) -> tuple[object, ...]:
    """Source, commit, time, author and subject."""
    status = revision["status"]
    return (
        revision["metadata"]["source"],
        short(status["commit"]),
        status["activatedAt"],
        status["author"],
        status["subject"],
    )


def trigger_row(trigger: Answer) -> tuple[object, ...]:
    """Namespace, name, state, last decision, next time, last task and message of a trigger."""
    metadata, status = trigger["metadata"], trigger["status"]
    last = status["last"][0] if status["last"] else None
    task = status["lastTask"]
    return (
        metadata["namespace"],
        metadata["name"],
        status["state"],
        f"{last['at']} {last['outcome']}" if last else "",
        status["next"][0] if status["next"] else "",
        f"{task['name']} {task['state']}" if task else "",
        status["message"],
    )


def trigger_lines(trigger: Answer) -> list[str]:
    """One trigger for people: how it stands, its last five slots and its next five times."""
    metadata, status = trigger["metadata"], trigger["status"]
    head = f"{metadata['namespace']}/{metadata['name']} is {status['state']} ({status['reason']}): {status['message']}"
    found = [head, f"desired by: {_origin(status['source'])}", "last:"]
    for each in status["last"]:
        said = each["task"] or " ".join(part for part in (each["reason"], each["message"]) if part)
        found.append(f"  {each['at']}  {each['outcome']}  {said}")
    found += ["  nothing yet"] * (not status["last"])
    found += ["next:", *(f"  {each}" for each in status["next"])] if status["next"] else []
    if task := status["lastTask"]:
        found.append(
            f"last task: {task['name']} is {task['state']}" + (f" ({task['reason']})" if task["reason"] else "")
        )
    return [_line(line) for line in found]
