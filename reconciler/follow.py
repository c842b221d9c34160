"""From a source to the desired state: looks at revisions, judges them as a whole, and tells the loop.

Reading happens in one thread of its own, because a repository may be slow; what a revision means for the tasks is
decided by the planner. A source that cannot be read, or a revision that is refused, leaves in force what was.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import cast

import structlog

from definitions.definition import Definition
from definitions.definition import Identity as Defined
from definitions.desired import Complete
from definitions.library import DocumentState, Library, build
from definitions.models import Task, Trigger
from definitions.repins import changed_since, repinned_tasks
from definitions.revision import Revision, Source, SourceUnavailable, Tree
from reconciler.inbox import Inbox
from reconciler.last_good import LastGood, keeping, remembered, somebody
from reconciler.plan.acceptance import Refused, refusal
from reconciler.secrets.provider import SecretChain
from reconciler.words import first_said
from state.changes import Activated, SourceReported
from state.questions import Latest
from state.records import RESTORED_OLDER, DefinitionRecord, Identity, SourceRecord
from state.store import Store

Condition = dict[str, str]
_SECRET = re.compile(r'\{"secret":\s*"([^"]+)"\}')
_TRACED = 50
"""So many task files of one revision are searched for who wrote the parts of their controls."""
_VERSIONS = 50
"""So many versions of each of them."""
_TOLD = 10
"""So many rejected files are named on standard error; the API has them all."""

log = structlog.get_logger("reconciler.follow")


@dataclass(frozen=True, slots=True)
class Sighting:
    """A revision that has been read. `force` is `library` with what it would remove and must not."""

    revision: Revision
    library: Library
    force: Library
    rewound: bool
    changed: frozenset[str] | None  # the paths of the repository that differ from the revision in force, where known
    since: Mapping[str, frozenset[Defined]]
    words: Mapping[Identity, Mapping[str, Revision]]


class Follower:
    """One source, followed. `hold`: tasks that the first revision introduces are not adopted."""

    def __init__(
        self,
        source: Source,
        record: SourceRecord,
        store: Store,
        inbox: Inbox,
        secrets: SecretChain,
        clock: Callable[[], datetime],
        *,
        drivers: frozenset[str],
        hold: bool,
    ) -> None:
        self._source = source
        self._record = record
        self._store = store
        self._inbox = inbox
        self._secrets = secrets
        self._clock = clock
        self._drivers = drivers
        self._hold = hold
        self._library: Library | None = None
        self._force: Library | None = None  # the same with the triggers that no revision could remove yet
        self._kept: frozenset[tuple[str, int]] = frozenset()  # the documents of these
        self._rows = {(row.path, row.index): row for row in store.definitions(record.name)}
        self._refused = ""  # the commit that was refused last: it need not be read again
        self._refusal: tuple[Condition, ...] = ()  # why it was refused
        self._standing: tuple[Condition, ...] = ()  # of the revision in force
        self._stands_in = False
        self._owed: set[Identity] = set()  # tasks that lost their file in a revision which could remove nothing
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="source")

    @property
    def library(self) -> Library | None:
        """What is in force; None before the first revision."""
        return self._library

    async def look(self) -> bool:
        """Look once; whether the source could be read. Whatever is new goes to the inbox."""
        loop = asyncio.get_running_loop()
        try:
            seen = await loop.run_in_executor(self._thread, self._read)
        except SourceUnavailable as error:
            self._tell(_condition("Ready", "False", error.reason, error.message))
            await self._stand_in()
            return False
        if seen is not None:
            async with self._inbox.turn:
                self._judge(seen)
            await self._stand_in()
        else:
            self._tell(*(self._refusal if self._refused else self._standing))
        return True

    async def _stand_in(self) -> None:
        """What was in force before this start stays so until a revision is accepted: triggers fire with it."""
        if self._library or self._stands_in or not self._record.commit:
            return
        self._stands_in = True
        work = asyncio.get_running_loop().run_in_executor(self._thread, remembered, self._record, self._rows.values())
        revision, library = await work
        async with self._inbox.turn:
            desired = Complete(revision, library, removes=False, older=self._store.held)
            self._inbox.revise(desired, [], None, self._concerned(library))

    def close(self) -> None:
        """Let the source go."""
        self._thread.submit(self._source.close)
        self._thread.shutdown()

    # -- in the source's thread --------------------------------------------------------------------------------------

    def _read(self) -> Sighting | None:
        """The source's revision with its library; None if it is the one in force, or the one refused last."""
        revision = self._source.revision()
        if self._library and revision.commit == self._record.commit:
            self._refused = ""  # what was refused has gone again
            return None
        if revision.commit == self._refused:
            return None
        tree = self._source.tree(revision)
        origins = self._origins(tree)
        tree = self._with_origins(tree, origins)
        good = None if self._library else LastGood(self._rows.values())
        library = build(tree, self._source.read, self._library, good, self._drivers)
        before = self._record.commit
        rewound = bool(before) and before != revision.commit and self._source.rewound(before, revision.commit)
        changed = self._changed(before, revision, library)
        return Sighting(
            revision,
            library,
            self._keeping(library),
            rewound,
            changed,
            changed_since(self._source, library),
            self._words(origins, library),
        )

    def _words(
        self, origins: Mapping[str, Sequence[Revision]], library: Library
    ) -> Mapping[Identity, Mapping[str, Revision]]:
        """Who wrote the new controls in files that several commits changed: of so many files, those with a control first."""
        news = [each for each in library.tasks() if len(origins.get(each.path, ())) > 1 and self._is_news(each)]
        news.sort(key=lambda each: not cast("Task", each.model).control.model_fields_set)
        return {(each.namespace, each.name): self._first_said(each, origins[each.path]) for each in news[:_TRACED]}

    def _first_said(self, task: Definition, revisions: Sequence[Revision]) -> Mapping[str, Revision]:
        last = revisions[:_VERSIONS]
        return first_said(task, zip(last, self._source.versions(task.path, last), strict=False))

    def _is_news(self, task: Definition) -> bool:
        """Whether a task file says something else than what was in force."""
        row = self._rows.get((task.path, task.index))
        return row is None or row.digest != task.digest

    def _keeping(self, library: Library) -> Library:
        """What is in force with `library`: a revision with rejected files removes no trigger either."""
        if not library.rejected:
            return library
        before, triggers = self._force, {each.identity for each in library.triggers()}
        known = {
            ("Trigger", row.namespace, row.name) for row in self._rows.values() if row.kind == "Trigger" and row.text
        }
        if before is None and known - triggers:
            _, before = remembered(self._record, self._rows.values())
        return keeping(library, before) if before else library

    def _changed(self, before: str, revision: Revision, library: Library) -> frozenset[str] | None:
        """What changed since the revision in force, where a trigger wants to know."""
        wanted = any(cast("Trigger", each.model).spec.on_commit for each in library.triggers())
        return self._source.changed(before, revision.commit) if wanted and before else frozenset()

    def _origins(self, tree: Tree) -> Mapping[str, Sequence[Revision]]:
        """The commits since the revision in force that changed the files of `tree`, and those that are gone."""
        if self._library is None:
            return self._source.origins(
                {path for path, _ in self._rows} | tree.blobs.keys(), None, tree.revision.commit
            )
        before = self._library.tree.blobs
        news = {path for path in before.keys() | tree.blobs.keys() if before.get(path) != tree.blobs.get(path)}
        found = self._source.origins(news, self._record.commit, tree.revision.commit)
        return {path: found.get(path, (tree.revision,)) for path in news}

    def _with_origins(self, tree: Tree, found: Mapping[str, Sequence[Revision]]) -> Tree:
        """The tree with who changed each file last, also those that are gone: what is known stays.

        Where that is further back than a source looks, the people are unknown, and not those of the tip.
        """
        last = {path: revisions[0] for path, revisions in found.items()}
        if self._library:
            return replace(tree, origins={**self._library.tree.origins, **last})
        rows = {path: row for (path, _), row in self._rows.items()}
        unknown = (tree.blobs.keys() | rows.keys()) - last.keys()
        return replace(tree, origins={path: somebody(tree.revision, rows.get(path), tree) for path in unknown} | last)

    # -- in the loop's thread ----------------------------------------------------------------------------------------

    def _judge(self, seen: Sighting) -> None:
        known = self._store.identities() if self._library is None or self._owed or self._removes_tasks(seen) else {}
        live = {identity for identity, run in known.items() if run.live and not run.removed and not run.fired}
        refused = refusal(seen.revision, seen.library, live, len(self._rows))
        if refused:
            return self._refuse(seen, refused)
        if self._library is None:
            identities = _differing(seen.library, known) | set(self._store.unresolved())
        else:
            identities = _touched(self._library, seen.library) | set(self._store.unresolved())
        identities |= self._owed | {(each.namespace, each.name) for each in repinned_tasks(seen.library)}
        gone = {identity for identity in identities if seen.library.task(*identity) is None}
        self._owed = gone if seen.library.rejected else set()
        removes, older = not seen.library.rejected, self._store.held
        desired = Complete(seen.revision, seen.force, removes, self._hold, older, since=seen.since, words=seen.words)
        self._hold, self._refused = False, ""
        activation, concerned = self._activation(seen), self._concerned(seen.force)
        changed = seen.changed
        if changed is None:  # the source cannot tell, so what is known of definitions has to do
            changed = frozenset(
                {each.path for each in activation.definitions} | {path for path, _ in activation.removed}
            )
        if self._library is None:
            log.info("follows", source=self._source.describe(), commit=seen.revision.commit)
        _tell_rejected(seen.library, self._library)
        self._library, self._force = seen.library, seen.force
        self._inbox.revise(desired, sorted(identities), activation, concerned, changed)
        return None

    def _concerned(self, library: Library) -> list[Identity]:
        """The triggers to look at for a revision: what is new, different or gone, and all that look at revisions.

        At the first one all of them, and those that are gone and have tasks which may wait for each other.
        """
        known = self._store.triggers(self._record.name)
        files = {(each.namespace, each.name): each for each in library.triggers()}
        old = {identity for identity, each in known.items() if identity in files and not _looks(files[identity])}
        same = {identity for identity in old if known[identity].digest == files[identity].digest}
        first = {*files, *self._store.firing()} if self._library is None else set()
        return sorted((files.keys() - same) | (known.keys() - files.keys()) | first)

    def _removes_tasks(self, seen: Sighting) -> bool:
        before = self._library.tasks() if self._library else ()
        return any(seen.library.task(task.namespace, task.name) is None for task in before)

    def _refuse(self, seen: Sighting, refused: Refused) -> None:
        self._refused = seen.revision.commit
        log.warning("revision refused", commit=seen.revision.commit, reason=refused.reason, message=refused.message)
        text = f"{seen.revision.commit[:12]}: {refused.message}"
        self._refusal = (_condition(refused.reason, "True", refused.reason, text),)
        self._tell(*self._refusal)

    def decided(self) -> None:
        """A person has decided about the older database: its condition goes."""
        left = tuple(each for each in self._record.conditions if each["type"] != RESTORED_OLDER)
        self._record = replace(self._record, conditions=left)
        self._inbox.tell(SourceReported(self._record))

    def _restored(self) -> Iterator[Condition]:
        if self._store.held:
            text = f"{self._store.held}: nothing unfinished goes on until `reconciler adopt` says what does"
            yield _condition(RESTORED_OLDER, "True", RESTORED_OLDER, text)

    def _tell(self, *standing: Condition) -> None:
        conditions = (*standing, *self._restored())
        if conditions == self._record.conditions:
            return
        for each in standing:
            if each["status"] == "False":
                log.warning("source unavailable", reason=each["reason"], message=each["message"])
        self._record = replace(self._record, conditions=conditions, observed_at=self._clock())
        self._inbox.tell(SourceReported(self._record))

    def _activation(self, seen: Sighting) -> Activated:
        revision, now = seen.revision, self._clock()
        self._standing = tuple(_conditions(seen))
        self._record = replace(
            self._record,
            location=self._source.describe(),
            ref=self._source.followed(),
            commit=revision.commit,
            author=revision.author,
            email=revision.email,
            subject=revision.subject,
            committed_at=revision.at,
            activated_at=now,
            observed_at=now,
            conditions=(*self._standing, *self._restored()),
        )
        paths = None if self._library is None else seen.library.changed
        fresh = {(each.path, each.index): _row(each) for each in seen.library.documents(paths)}
        kept = _kept(seen)
        gone = [key for key in self._rows if paths is None or key[0] in paths or key in self._kept]
        stale = [key for key in gone if key not in fresh and key not in kept]
        self._kept = kept
        news = tuple(row for key, row in fresh.items() if self._rows.get(key) != row)
        for key in stale:
            del self._rows[key]
        self._rows.update(fresh)
        return Activated(self._record, news, tuple(stale), self._lengths(news))

    def _lengths(self, rows: Iterable[DefinitionRecord]) -> Mapping[str, int]:
        """The lengths of the secrets that these definitions name; one dialect shows them as stars (rule 13)."""
        named = {name for row in rows if '"secret"' in row.text for name in _SECRET.findall(row.text)}
        return self._secrets.lengths(named)


def _kept(seen: Sighting) -> frozenset[tuple[str, int]]:
    """The documents that are in force although the revision has them no more."""
    links = [link.definition for key, link in seen.force.links.items() if key not in seen.library.links]
    known = {(each.path, each.index) for each in seen.library.documents({each.path for each in links})}
    return frozenset({(each.path, each.index) for each in links} - known)


def _tell_rejected(library: Library, before: Library | None) -> None:
    """Each file that is newly rejected, on one line with its place; of many the first ones."""
    known = before.rejected if before else {}
    news = [problems[0] for path, problems in library.rejected.items() if known.get(path) != problems]
    for problem in news[:_TOLD]:
        log.warning("a file is rejected; its last good version stays in force", problem=str(problem))
    if len(news) > _TOLD:
        log.warning("more files are rejected", files=len(news) - _TOLD)


def _differing(library: Library, known: Mapping[Identity, Latest]) -> set[Identity]:
    """The task files that do not say what their latest run was told, and the live runs without a file."""
    told = {identity: (each.digest, each.removed) for identity, each in known.items()}
    files = {(task.namespace, task.name): (task.digest, False) for task in library.tasks()}
    changed = {identity for identity, said in files.items() if told.get(identity) != said}
    lost = {identity for identity, each in known.items() if each.live and (each.digest or not each.fired)}
    orphans = lost - files.keys()
    waiting = {(task.namespace, task.name) for task in library.tasks() if library.unresolved(task)}
    return changed | orphans | waiting


def _looks(trigger: Definition) -> bool:
    """Whether a trigger looks at every revision, having no times of its own."""
    return cast("Trigger", trigger.model).spec.cron is None


def _touched(before: Library, after: Library) -> set[Identity]:
    """The task files that a new library brings, changes or takes away."""
    old = {(task.namespace, task.name): task.digest for task in before.tasks() if task.path in after.changed}
    new = {(task.namespace, task.name): task.digest for task in after.tasks() if task.path in after.changed}
    return {identity for identity in old.keys() | new.keys() if old.get(identity) != new.get(identity)}


def _row(document: DocumentState) -> DefinitionRecord:
    problems = tuple(problem.as_dict() for problem in document.problems)
    return DefinitionRecord(
        document.path,
        document.index,
        document.blob,
        document.commit,
        document.kind,
        document.namespace,
        document.name,
        document.digest,
        document.text,
        document.accepted,
        problems,
    )


def _conditions(seen: Sighting) -> Iterator[Condition]:
    yield _condition("Ready", "True", "InForce", "")
    if seen.rewound:
        text = "history was rewritten, or another branch is followed; what runs keeps its pins, nothing fires twice"
        yield _condition("Rewound", "True", "W-REWIND", text)
    if rejected := seen.library.rejected:
        first = next(iter(rejected.values()))[0]
        several = f"{len(rejected)} files rejected, their last good versions stay"
        what = "1 file rejected, its last good version stays" if len(rejected) == 1 else several
        text = f"{what} in force and nothing is removed; {first}"
        yield _condition("DefinitionsRejected", "True", "DefinitionsRejected", text)


def _condition(kind: str, status: str, reason: str, message: str) -> Condition:
    return {"type": kind, "status": status, "reason": reason, "message": message}
