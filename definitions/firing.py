"""What a trigger's file says about its firing that cannot be meant: found here, before the first slot is due."""

from definitions.findings import Report
from definitions.models import Trigger

MAX_NAME = 255 - len("-") - 2 * 12
"""The name of each task ends in a slot: `20261122T180000Z`, a commit, or a commit and a digest."""
_OF_TIMES = ("timezone", "missed", "within")


def check_trigger(trigger: Trigger, report: Report) -> None:
    """Report a name that leaves no room for a slot, and options that change nothing."""
    spec = trigger.spec
    if len(trigger.metadata.name) > MAX_NAME:
        text = f"{len(trigger.metadata.name)} characters; the name of a trigger has at most {MAX_NAME}, for its tasks' names"
        report.add(("metadata", "name"), "E-LIMIT", text)
    given = spec.model_fields_set
    for name in _OF_TIMES if spec.cron is None else ():
        if name in given:
            report.add(
                ("spec", name), "W-UNUSED", f"`{name}` is about times; without `cron` it changes nothing", on_key=True
            )
    if spec.missed == "skip" and spec.within is not None:
        report.add(("spec", "within"), "W-UNUSED", "no missed time fires with `missed: skip`", on_key=True)
    if spec.missed == "all" and spec.overlap != "queue":
        kept = "the first of them, while that runs" if spec.overlap == "skip" else "the last of them"
        text = f"with `overlap: {spec.overlap}` only {kept}; write `overlap: queue` to have them all"
        report.add(("spec", "missed"), "W-UNUSED", text, on_key=True)
