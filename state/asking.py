"""Whose word each part of a control is: the commit that made it say what it says, whatever came into the file since.

A file changes for many reasons, so the commit that touched it last tells nothing about a part that it left as it was.
"""

from collections.abc import Iterator, Mapping

from state.records import Cause, Json, TaskRecord

Control = Mapping[str, Json]


def asked_anew(
    asked: Mapping[str, Cause], before: Control, control: Control, cause: Cause, words: Mapping[str, Cause]
) -> Mapping[str, Cause]:
    """By part, who asked for `control`, which `cause` brought in the place of `before`, which was `asked` for.

    `words` are the parts of which is known that others brought them. A part that says what it says without a file is nobody's word until one has changed it: see `asked_by`.
    """
    old = dict(parts(before))
    found = {part: cause for part, cause in asked.items() if part.startswith("run.")}  # runs go on being asked for
    for part, said in parts(control):
        if part not in old or old[part] != said:
            found[part] = words.get(part, cause)
        elif part in asked:
            found[part] = asked[part]
    return found


def asked_by(record: TaskRecord, part: str) -> Cause:
    """Who asked for a part of the control of a run; for one that has not changed since, who asked for the run."""
    origin = record.origin
    return record.asked.get(part) or Cause("commit", origin.commit, origin.author, origin.subject)


def differences(before: Control, control: Control) -> list[str]:
    """The parts in which `control` says something else than `before`."""
    old, new = dict(parts(before)), dict(parts(control))
    gone = [f"without {part}" for part in old if part not in new and not part.startswith("run.")]
    return [*(part for part, said in new.items() if part not in old or old[part] != said), *gone]


def parts(control: Control) -> Iterator[tuple[str, Json]]:
    """What is asked for by one word each, as (name, what is said).

    With another reason for a state no other state is asked for.
    """
    yield "state", [control.get("state", "running"), control.get("until")]
    yield f"run.{control.get('run', 1)}", None
    if "repin" in control:
        yield "repin", control["repin"]
    steps = control.get("steps")
    for path, entry in steps.items() if isinstance(steps, dict) else ():
        for verb, about in entry.items() if isinstance(entry, dict) else ():
            yield f"steps.{path}.{verb}", about
