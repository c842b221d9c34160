"""The cross-file half of a library: which version of each file is in force, and what belongs together.

Rejecting a file can bring its last good version back, which can bring a name into question elsewhere. So the files that
a revision touches are settled together, in rounds: a round looks at all of them against the same state, and only ever
rejects more; it ends when nothing is rejected any more, whatever order the files came in.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from definitions.compile import Compiled, check_request, compile_program
from definitions.definition import Definition, Identity
from definitions.files import File
from definitions.findings import Finding, unforeseen
from definitions.rings import uses
from definitions.units import Find, Rejected

MAX_HINTS = 20
"""So many unknown names of one revision get a `did you mean`: looking for one takes a while."""


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """A definition in force with all that it uses, itself first. `blocked`: why it cannot run now, though accepted."""

    definition: Definition
    closure: tuple[Definition, ...] = ()
    blocked: str = ""


@dataclass(slots=True, eq=False)
class Linking:
    """The files that are settled now (`files`), among those that stay as they are (`stable`, by identity).

    `before` holds the links that were in force by path, `kept` the definitions that a database remembers instead.
    """

    files: Mapping[str, File]
    stable: Mapping[Identity, Link]
    before: Mapping[str, Sequence[Link]]
    kept: Mapping[str, Sequence[Definition]]
    broken: Mapping[Identity, str]  # identities that rejected files outside of `files` declare -> why
    names: Mapping[str, str]  # names that unreadable files may define -> why
    drivers: frozenset[str]
    findings: dict[str, dict[int, list[Finding]]] = field(default_factory=dict)  # path -> document -> findings
    rejected: set[str] = field(default_factory=set)
    links: dict[str, tuple[Link, ...]] = field(default_factory=dict)  # path -> what is in force
    _hints: int = MAX_HINTS
    _force: dict[Identity, Definition] = field(default_factory=dict)
    _compiled: dict[Definition, Compiled] = field(default_factory=dict)
    _blocked: dict[Identity, str] = field(default_factory=dict)
    _reasons: dict[Identity, str] = field(default_factory=dict)

    def settle(self) -> None:
        """Fill `links`, `findings` and `rejected`."""
        self.rejected = {path for path, file in self.files.items() if file.broken}
        while self._reject_duplicates() or self._reject_misfits():
            pass
        self._link()

    def _in_force(self, path: str) -> Sequence[Definition]:
        """The definitions of a file that count in this round: its own, or the last good ones."""
        return self._last_good(path) if path in self.rejected else self.files[path].definitions

    def _last_good(self, path: str) -> Sequence[Definition]:
        if path in self.before:
            return [link.definition for link in self.before[path]]
        return self.kept.get(path, ())

    def _reject(self, definition: Definition, findings: Iterable[Finding]) -> None:
        self.rejected.add(definition.path)
        self.findings.setdefault(definition.path, {}).setdefault(definition.index, []).extend(findings)

    def _reject_duplicates(self) -> bool:
        """Reject newcomers to an identity that is taken; whether there were any."""
        claims: dict[Identity, list[Definition]] = {}
        for path in self.files:
            for definition in self._in_force(path):
                claims.setdefault(definition.identity, []).append(definition)
        before = frozenset(self.rejected)
        for identity, claimants in claims.items():
            taken = self.stable.get(identity)
            everyone = [*claimants, taken.definition] if taken is not None else claimants
            if len(everyone) > 1:
                holder = taken.definition if taken is not None else self._holder(identity, claimants)
                self._reject_all_but(holder, everyone, before)
        self._force = {identity: found[0] for identity, found in claims.items()}
        return self.rejected != before

    def _holder(self, identity: Identity, claimants: Sequence[Definition]) -> Definition | None:
        """The claimant whose file held this identity before."""
        paths = Counter(each.path for each in claimants)
        for each in claimants:
            held = any(good.identity == identity for good in self._last_good(each.path))
            if held and paths[each.path] == 1:
                return each
        return None

    def _reject_all_but(
        self, holder: Definition | None, claimants: Sequence[Definition], before: frozenset[str]
    ) -> None:
        for each in claimants:
            if each is not holder and each.path in self.files and each.path not in before:
                other = holder if holder is not None else next(other for other in claimants if other is not each)
                message = (
                    f"{each.kind} `{each.name}` of namespace `{each.namespace}` stands here and in {_place(other)}"
                )
                self._reject(each, [Finding(("metadata", "name"), "E-DUPLICATE", message)])

    def _reject_misfits(self) -> bool:
        """Compile what counts in this round and reject the files with errors; whether there were any."""
        self._reasons = self._declared_by_rejected()
        accepted = [each for path in self._accepted() for each in self._own(path)]
        for definition in accepted:
            if definition not in self._compiled:
                self._compiled[definition] = self.compile(definition)
        misfits = [each for each in accepted if any(not one.warning for one in self._compiled[each].findings)]
        for definition in misfits:
            self._reject(definition, self._compiled[definition].findings)
        self._forget_users(misfits)
        return bool(misfits)

    def _forget_users(self, rejected: Sequence[Definition]) -> None:
        """Have everything compiled again that names something in a file that was just rejected."""
        paths = {each.path for each in rejected}
        changed = {each.identity for path in paths for each in (*self.files[path].definitions, *self._last_good(path))}
        if changed:
            for definition in [each for each in self._compiled if changed & names_used(each)]:
                del self._compiled[definition]

    def compile(self, definition: Definition) -> Compiled:
        """Check `definition` against what is in force in this round. Never raises."""
        try:
            return self._compile(definition)
        except Exception as error:
            return Compiled(None, (Finding((), "E-INTERNAL", unforeseen(error)),))

    def _compile(self, definition: Definition) -> Compiled:
        if definition.kind in ("Job", "Workflow"):
            return compile_program(definition, self.find, self.drivers, self.similar)
        return check_request(definition, self.find, self.similar)

    def similar(self, kind: str, name: str) -> list[str]:
        """Names of this kind that `name` may have been meant to be; a few times only, then nothing."""
        self._hints -= 1
        known = self._force.keys() | self.stable.keys() if self._hints >= 0 else ()
        return sorted({each for what, _, each in known if what == kind and abs(len(each) - len(name)) <= 2})

    def find(self, kind: str, namespace: str, name: str) -> Definition | Rejected | None:
        """What a name means in `namespace`: looked up there, then in `default`."""
        for each in dict.fromkeys((namespace, "default")):
            identity = (kind, each, name)
            found = self._force.get(identity)
            if found is None and identity in self.stable:
                found = self.stable[identity].definition
            if found is not None:
                return found
            reason = self._reasons.get(identity) or self.broken.get(identity)
            if reason is not None:
                return Rejected(f"{kind.lower()} `{name}` is rejected: {reason}")
        reason = self.names.get(name)
        return Rejected(f"{kind.lower()} `{name}` may stand in a rejected file: {reason}") if reason else None

    def _declared_by_rejected(self) -> dict[Identity, str]:
        reasons = {path: self.reason(path) for path in sorted(self.rejected, reverse=True)}
        return {
            stub.identity: reason for path, reason in reasons.items() for stub in self.files[path].stubs if stub.name
        }

    def reason(self, path: str) -> str:
        """In one line why the file is rejected."""
        error = next((each for each in self.files[path].problems if not each.warning), None)
        if error is not None:
            return str(error)
        found = [each for group in self.findings.get(path, {}).values() for each in group if not each.warning]
        return f"{path}: {found[0].code} {found[0].message}" if found else path

    def _link(self) -> None:
        """Join what is in force with what it uses; last good versions first, because others may wait for them."""
        accepted = self._accepted()
        self._blocked = {each.identity: self._compiled[each].blocked for path in accepted for each in self._own(path)}
        for path in sorted(self.rejected):
            again = self.before.get(path)
            links = tuple(again) if again is not None else tuple(map(self._relinked, self.kept.get(path, ())))
            self.links[path] = links
            self._blocked.update((link.definition.identity, link.blocked) for link in links)
        for path in accepted:
            self.links[path] = tuple(map(self._linked, self._own(path)))
            self._note_warnings(path)

    def _accepted(self) -> list[str]:
        return [path for path in self.files if path not in self.rejected]

    def _own(self, path: str) -> Sequence[Definition]:
        return self.files[path].definitions

    def _note_warnings(self, path: str) -> None:
        for definition in self._own(path):
            if warnings := self._compiled[definition].findings:
                self.findings.setdefault(path, {})[definition.index] = list(warnings)

    def _linked(self, definition: Definition) -> Link:
        closure = closure_of(definition, self.find)
        waits = (self._blocked.get(each.identity) or self._blocked_before(each.identity) for each in closure)
        return Link(definition, closure, next((reason for reason in waits if reason), ""))

    def _blocked_before(self, identity: Identity) -> str:
        return self.stable[identity].blocked if identity in self.stable else ""

    def _relinked(self, definition: Definition) -> Link:
        """A version that only the database remembers: it stays, but it waits if it does not fit any more."""
        compiled = self.compile(definition)
        error = next((finding for finding in compiled.findings if not finding.warning), None)
        link = self._linked(definition)
        misfit = f"its last good version no longer fits: {error.message}" if error is not None else ""
        return Link(definition, link.closure, misfit or compiled.blocked or link.blocked)


def closure_of(definition: Definition, find: Find) -> tuple[Definition, ...]:
    """`definition` and everything that it uses, directly or not, in the order of first use."""
    found = {definition.identity: definition}
    waiting = [definition]
    while waiting:
        current = waiting.pop(0)
        for kind, name in uses(current):
            used = find(kind, current.namespace, name)
            if isinstance(used, Definition) and used.identity not in found:
                found[used.identity] = used
                waiting.append(used)
    return tuple(found.values())


def names_used(definition: Definition) -> frozenset[Identity]:
    """Every identity that a name in `definition` could mean, whether there is one or not."""
    places = dict.fromkeys((definition.namespace, "default"))
    return frozenset((kind, place, name) for kind, name in uses(definition) for place in places)


def _place(definition: Definition) -> str:
    return f"{definition.path} (document {definition.index + 1})"
