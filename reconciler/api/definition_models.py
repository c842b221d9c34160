"""The answers about what should run, as models: definitions with their problems, sources and revisions."""

from typing import Any, Literal

from pydantic import JsonValue

from reconciler.api.models import Condition, Model, Object


class Finding(Model):
    """What is wrong with a definition, and where."""

    file: str
    line: int
    column: int
    code: str
    message: str


class DefinitionSource(Model):
    """Which bytes a definition comes from; `document` counts the documents of its file from 0."""

    commit: str
    path: str
    blob: str
    document: int


class DefinitionStatus(Model):
    """Whether a definition is accepted, and its problems; `inForce`: something, perhaps an older version, is in use."""

    accepted: bool
    in_force: bool
    digest: str
    source: DefinitionSource
    problems: list[Finding]


class Definition(Object):
    """One document of the active revision; `kind` is empty where the bytes do not even say that."""

    kind: str
    metadata: dict[str, JsonValue]
    spec: JsonValue
    status: DefinitionStatus


class RevisionFields(Model):
    """A commit that was in force."""

    commit: str
    author: str
    email: str
    subject: str
    committed_at: str | None
    activated_at: str | None


class SourceStatus(Model):
    """How a source stands."""

    revision: RevisionFields
    observed_at: str | None
    conditions: list[Condition]


class Source(Object):
    """Where definitions come from."""

    kind: Literal["Source"]
    metadata: dict[str, str]
    spec: dict[str, str]
    status: SourceStatus


class Revision(Object):
    """One revision that was activated."""

    kind: Literal["Revision"]
    metadata: dict[str, Any]
    spec: dict[str, str]
    status: RevisionFields
