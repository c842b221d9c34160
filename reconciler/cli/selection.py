"""Which documents a person means: by name, by label, or a task that a trigger made and that has no file yet."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any, Final

from definitions.problems import Problem
from definitions.slots import slot_name, slots_of
from reconciler.cli.checkout import Checkout, Found
from reconciler.cli.failure import Failure

_INSTANT: Final = re.compile(r"\d{8}T\d{6}Z")
_COMMIT: Final = re.compile(r"[\w.:+-]*[0-9a-f]{7,}")
_SPELT_ALIKE: Final = re.compile(r"[\w.-]+")  # what a file spells as it is, unless it has escapes


def split(text: str) -> tuple[str | None, str]:
    """`namespace/name` or `name` as (namespace or None, name). Raises Failure."""
    namespace, slash, name = text.rpartition("/")
    if not name or "/" in namespace or (slash and not namespace):
        raise Failure(f"{text!r} is not a name; write NAME or NAMESPACE/NAME")
    return (namespace if slash else None), name


def named(checkout: Checkout, kind: str, text: str) -> Found:
    """The one document of `kind` that `text` names; for a task without a file that a trigger made, its file to be.

    Raises Failure with what may have been meant.
    """
    namespace, name = split(text)
    known = list(checkout.documents(_mark(name)))
    fitting = _fitting(known, kind, namespace, name)
    if len(fitting) > 1:
        raise Failure(_ambiguous(fitting, kind, text))
    if fitting:
        return fitting[0]
    if broken := next((each for each in checkout.rejected(_mark(name)) if name in each.names), None):
        raise Failure(f"the file that names {text} is rejected: {broken.error}; mend and commit it first")
    everything = list(checkout.documents())
    if kind == "Task" and (made := _made_by_trigger(checkout, everything, namespace, name)):
        return made
    raise Failure(_nothing(everything, kind, text, namespace, name))


def labelled(
    checkout: Checkout, kind: str, labels: Sequence[str], namespace: str | None
) -> tuple[list[Found], list[Problem]]:
    """Every document of `kind` with all of these `key=value` labels, by file, and why files that may have some are left out.

    Raises Failure where there is none.
    """
    wanted = pairs(labels, "-l")
    marks = [_mark(text) for pair in wanted.items() for text in pair]
    broken = [
        each for each in checkout.rejected(*marks) if each.unread or _chosen(each.documents, kind, wanted, namespace)
    ]
    out = {each.error.file for each in broken}
    found = [each for each in _chosen(checkout.documents(), kind, wanted, namespace) if each.path not in out]
    if not found and broken:
        places = "; ".join(str(each.error) for each in broken)
        raise Failure(f"no {kind.lower()} file in force has {' and '.join(labels)}; these are rejected: {places}")
    if not found:
        raise Failure(f"no {kind.lower()} file has {' and '.join(labels)}; `git grep` finds labels in files")
    return found, [each.error for each in broken]


def _chosen(known: Iterable[Found], kind: str, wanted: Mapping[str, str], namespace: str | None) -> list[Found]:
    return [
        each for each in known if each.kind == kind and namespace in {None, each.identity[0]} and _has(each, wanted)
    ]


def pairs(given: Iterable[str], option: str) -> dict[str, str]:
    """`key=value` texts as a mapping. Raises Failure for one without `=`."""
    found = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise Failure(f"{option} {text}: write it as KEY=VALUE")
        found[key] = value
    return found


def _mark(name: str) -> bytes:
    """Bytes that a file must contain to define `name`; none where it could be spelt in several ways."""
    return name.encode() if name.isascii() and _SPELT_ALIKE.fullmatch(name) else b""


def _fitting(known: Iterable[Found], kind: str, namespace: str | None, name: str) -> list[Found]:
    return [
        each
        for each in known
        if each.kind == kind and each.identity[1] == name and namespace in {None, each.identity[0]}
    ]


def _has(found: Found, wanted: Mapping[str, str]) -> bool:
    labels = found.metadata.get("labels")
    return isinstance(labels, dict) and all(labels.get(key) == value for key, value in wanted.items())


def _made_by_trigger(checkout: Checkout, known: Iterable[Found], namespace: str | None, name: str) -> Found | None:
    """The file that would control the task, beside that of the trigger whose slot the end of its name is."""
    triggers = [
        each
        for each in known
        if each.kind == "Trigger"
        and namespace in {None, each.identity[0]}
        and name.startswith(f"{each.identity[1]}-")
        and _is_slot(each, name.removeprefix(f"{each.identity[1]}-"))
    ]
    if len({each.identity for each in triggers}) > 1:
        raise Failure(f"several triggers may have made {name}: {_list(triggers)}; write NAMESPACE/NAME")
    if not triggers:
        return None
    folder, slash, _ = triggers[0].path.rpartition("/")
    path = f"{folder}{slash}{name}.yaml"
    if checkout.read(path) is not None:
        raise Failure(f"{path} is there and does not control {name}; write the control into it by hand")
    home = triggers[0].identity[0]
    metadata = {"name": name} if home == "default" else {"name": name, "namespace": home}
    doubt = _doubt(triggers[0], name.removeprefix(f"{triggers[0].identity[1]}-"))
    return Found(path, 0, {"apiVersion": "reconciler/v1", "kind": "Task", "metadata": metadata}, doubt)


def _is_slot(trigger: Found, text: str) -> bool:
    if not _cron(trigger):
        return _COMMIT.fullmatch(text) is not None
    return _INSTANT.fullmatch(text) is not None and _instant(text) is not None


def _cron(trigger: Found) -> Mapping[str, Any]:
    """The spec of a trigger with times; empty for another one."""
    spec = trigger.value.get("spec")
    return spec if isinstance(spec, dict) and "cron" in spec else {}


def _instant(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def _doubt(trigger: Found, slot: str) -> str:
    """That a slot is no time of its trigger as that stands; it may have been one before its `cron` was changed."""
    spec, instant = _cron(trigger), _instant(slot)
    if not spec or instant is None:
        return ""
    try:
        slots = slots_of(str(spec["cron"]), str(spec.get("timezone", "UTC")))
        found = slots.next(instant - timedelta(microseconds=1))
    except (ValueError, KeyError, OverflowError):
        return ""  # a trigger that is not in force
    ahead = f"the next one after that is {slot_name(found)}" if found else "it has none after that"
    return "" if found == instant else f"as it stands {trigger.title} has no such time; {ahead}"


def _list(found: Iterable[Found]) -> str:
    return ", ".join(sorted({each.title for each in found}))


def _ambiguous(fitting: Sequence[Found], kind: str, text: str) -> str:
    if len({each.identity for each in fitting}) > 1:
        return f"several {kind.lower()}s are named {text}: {_list(fitting)}; write one of these"
    places = ", ".join(each.path for each in fitting)
    return f"{fitting[0].title} is defined more than once: {places}; remove all but one, or narrow it with --path"


def _nothing(known: Sequence[Found], kind: str, text: str, namespace: str | None, name: str) -> str:
    if kind == "Task" and _fitting(known, "Trigger", namespace, name):
        return f"{text} is a trigger, not a task; add --trigger where that is meant"
    titles = [each.title for each in known if each.kind == kind]
    names = {title.rpartition("/")[2]: title for title in titles}
    close = get_close_matches(text, titles, n=2) or [names[each] for each in get_close_matches(name, names, n=2)]
    hint = (
        f"did you mean {' or '.join(close)}?"
        if close
        else "`reconciler new` makes a task, --source and --path say where to look"
    )
    return f"there is no file of a {kind.lower()} {text}; {hint}"
