"""From a wish to a commit: what the files would say, checked as the controller will check it, written, committed, shown.

Everything is worked out before the first file is written, and a commit that fails leaves the files as they were. Only
the files that were changed here are committed, whatever else is changed or staged.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.text import Text

from definitions.files import parse_file
from definitions.problems import Problem
from definitions.revision import Blob
from reconciler.cli import render
from reconciler.cli.amendment import amend
from reconciler.cli.checkout import Checkout, Found
from reconciler.cli.failure import DONE, FAILED, Failure
from reconciler.cli.flow_style import written
from reconciler.cli.options import Output
from reconciler.cli.wishes import Wish

_STYLES = {"+": "green", "-": "red", "@": "cyan"}
_MODE = "100644"


@dataclass(slots=True)
class Proposal:
    """Files as they would be, by path, beside the bytes that were found; and what becomes of whom."""

    before: dict[str, bytes | None] = field(default_factory=dict)
    after: dict[str, bytes] = field(default_factory=dict)
    changed: list[Found] = field(default_factory=list)
    controls: list[Mapping[str, Any]] = field(default_factory=list)  # of those that are changed, as they would be
    fulfilled: list[Found] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)  # files that are not in force, or cannot be changed by a verb

    def add(self, part: "Proposal") -> None:
        """Let `part`, which is about other files, be a part of this."""
        self.before |= part.before
        self.after |= part.after
        self.refused |= part.refused
        self.changed += part.changed
        self.controls += part.controls
        self.fulfilled += part.fulfilled

    def diff(self) -> list[str]:
        """The lines of a unified diff of all files."""
        return [line for path in self.after for line in _diff(path, self.before[path], self.after[path])]


def propose(checkout: Checkout, targets: Sequence[Found], wish: Wish) -> Proposal:
    """What `wish` makes of the files of `targets`.

    Of several targets, those that it makes no sense for are left alone and named, and so are files that cannot be
    changed or would not be in force. Raises Failure for a single one.
    """
    proposal, alone = Proposal(), len(targets) == 1
    for path, those in _by_file(targets).items():
        part = Proposal()
        try:
            for target in those:
                _propose(checkout, part, target, wish, alone=alone)
            if path in part.after:
                require_valid(path, part.after[path])
        except Failure as error:
            if alone:
                raise
            proposal.left_out.append(str(error))
        else:
            proposal.add(part)
    return proposal


def _by_file(targets: Sequence[Found]) -> dict[str, list[Found]]:
    found: dict[str, list[Found]] = {}
    for target in targets:
        found.setdefault(target.path, []).append(target)
    return found


def _propose(checkout: Checkout, proposal: Proposal, target: Found, wish: Wish, *, alone: bool) -> None:
    try:
        wanted = wish.change(target.title, target.control)
    except Failure as error:
        if alone:
            raise
        proposal.refused[target.title] = str(error)
        return
    if dict(wanted) == target.control:
        proposal.fulfilled.append(target)
    else:
        _amend(checkout, proposal, target, wanted)


def _amend(checkout: Checkout, proposal: Proposal, target: Found, wanted: Mapping[str, Any]) -> None:
    path = target.path
    if path not in proposal.before:
        proposal.before[path] = checkout.read(path)
    found = proposal.after.get(path, proposal.before[path])
    text = envelope(target.value) if found is None else found.decode()
    proposal.after[path] = amend(path, text, target.index, "control", wanted).encode()
    proposal.changed.append(target)
    proposal.controls.append(wanted)


def envelope(value: Mapping[str, Any]) -> str:
    """The top level keys of `value`, a line each."""
    return "".join(f"{key}: {written(each)}\n" for key, each in value.items())


def require_valid(path: str, data: bytes) -> None:
    """Raises Failure with the first error of a file that would not be in force."""
    found = parse_file(Blob(path, "", len(data), _MODE), data, "")
    wrong = next((problem for problem in found.problems if not problem.warning), None)
    if wrong:
        raise Failure(f"{wrong}; nothing was written, because the file would not be in force")


def deliver(checkout: Checkout, proposal: Proposal, message: str) -> str | None:
    """Writes the proposal and commits it; the short hash of the commit, or None where none is to be made.

    Raises Failure; then every file is as it was.
    """
    repository, paths = checkout.repository, list(proposal.after)
    if repository is not None:
        _require_clean(checkout, paths)
    written_: list[str] = []
    try:
        for path in paths:
            if checkout.read(path) != proposal.before[path]:
                raise Failure(f"{path} was changed by somebody else in this moment; do it again")
            checkout.write(path, proposal.after[path])
            written_.append(path)
        return repository.commit(paths, message) if repository is not None else None
    except BaseException:
        for path in written_:
            checkout.write(path, proposal.before[path])
        if repository is not None:
            repository.unstage(paths)
        raise


def _require_clean(checkout: Checkout, paths: Iterable[str]) -> None:
    """Raises Failure where a commit would go nowhere, have no author, or take along what somebody else changed."""
    if checkout.repository is None:
        return
    checkout.repository.require_author()
    checkout.repository.branch()
    dirty = checkout.repository.changed(list(paths))
    if dirty:
        raise Failure(
            f"{', '.join(dirty[:5])} {'has' if len(dirty) == 1 else 'have'} changes that are not committed; commit or "
            "stash them first, or write without a commit with --no-commit"
        )


def fulfil(
    checkout: Checkout,
    targets: Sequence[Found],
    wish: Wish,
    whom: str,
    output: Output,
    rejected: Iterable[Problem] = (),
) -> int:
    """The whole way of a verb; `whom` is what several targets are called together. Returns the exit code.

    `rejected` is why files that may have been meant are left out.
    """
    proposal = propose(checkout, targets, wish)
    proposal.left_out[:0] = (f"{problem}; mend and commit the file first" for problem in rejected)
    subject, body = _message(proposal, wish, whom)
    said = ((each.title, wish.aside(each.control)) for each in proposal.changed)
    notes = [f"{title}: {aside}" for title, aside in said if aside]
    notes += [f"{each.title}: {each.doubt}" for each in proposal.changed if each.doubt]
    return publish(checkout, proposal, subject, body, output, fulfilled=wish.fulfilled, notes=notes)


def _message(proposal: Proposal, wish: Wish, whom: str) -> tuple[str, str]:
    changed = proposal.changed
    if len(changed) == 1:
        return wish.subject(changed[0].title, proposal.controls[0]), ""
    return wish.subject(f"{len(changed)} {whom}", {}), "\n".join(f"- {each.title}" for each in changed)


def publish(
    checkout: Checkout,
    proposal: Proposal,
    subject: str,
    body: str,
    output: Output,
    *,
    fulfilled: str = "",
    notes: Sequence[str] = (),
) -> int:
    """Delivers the proposal and says what was done, with the diff, in lines or as JSON. Returns the exit code."""
    commit = deliver(checkout, proposal, f"{subject}\n\n{body}".strip()) if proposal.after else None
    diff = proposal.diff()
    if output is Output.JSON:
        render.print_json(_as_dict(proposal, diff, subject, commit) | {"notes": list(notes)})
    else:
        _show(diff)
        _tell(checkout, proposal, subject, commit, fulfilled)
        for note in notes:
            print(render.inert(note))
    nothing = proposal.refused and not (proposal.after or proposal.fulfilled)
    return FAILED if nothing or proposal.left_out else DONE


def _as_dict(proposal: Proposal, diff: Sequence[str], subject: str, commit: str | None) -> dict[str, Any]:
    return {
        "commit": commit,
        "message": subject if proposal.after else None,
        "changed": [_reference(each) for each in proposal.changed],
        "unchanged": [_reference(each) for each in proposal.fulfilled],
        "refused": proposal.refused,
        "leftOut": proposal.left_out,
        "files": list(proposal.after),
        "diff": "\n".join(diff),
    }


def _reference(found: Found) -> dict[str, str]:
    namespace, name = found.identity
    return {"kind": found.kind, "namespace": namespace, "name": name, "path": found.path}


def _tell(checkout: Checkout, proposal: Proposal, subject: str, commit: str | None, fulfilled: str) -> None:
    for reason in proposal.left_out:
        print(render.inert(f"left out, its file is rejected: {reason}"))
    for title, reason in proposal.refused.items():
        print(render.inert(f"left alone: {title}: {reason}"))
    for each in proposal.fulfilled:
        print(render.inert(f"nothing to do: {each.title} {fulfilled}"))
    if commit is not None and checkout.repository is not None:
        print(render.inert(f"committed as {commit} on {checkout.repository.branch()}: {subject}"))
        if checkout.repository.has_upstream():
            print("next: git push")
    elif proposal.after:
        print(render.inert(f"written, not committed: {', '.join(proposal.after)}"))


def _diff(path: str, before: bytes | None, after: bytes) -> list[str]:
    old = f"a/{path}" if before is not None else "/dev/null"
    return list(difflib.unified_diff(_lines(before or b""), _lines(after), old, f"b/{path}", lineterm=""))


def _lines(data: bytes) -> list[str]:
    return (
        [line.removesuffix("\r") for line in data.decode(errors="replace").removesuffix("\n").split("\n")]
        if data
        else []
    )


def _show(diff: Iterable[str]) -> None:
    console = render.console()
    for line in diff:
        console.print(Text(render.inert(line), style=_STYLES.get(line[:1], "")))
