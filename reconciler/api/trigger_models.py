"""The answers about triggers, as models."""

from typing import Literal

from pydantic import JsonValue

from reconciler.api.models import Model, Object, StateName


class TriggerMetadata(Model):
    """Who a trigger is."""

    namespace: str
    name: str
    uid: str
    labels: dict[str, str]
    annotations: dict[str, str]


class Decision(Model):
    """One slot that fired or was skipped; of a range that was skipped as one the first. `task` is what it made."""

    slot: str
    at: str
    decided_at: str
    outcome: Literal["fired", "skipped"]
    reason: str
    message: str
    task: str | None


class LastTask(Model):
    """The task that a trigger made last."""

    name: str
    run: int
    state: StateName
    reason: str


class TriggerSource(Model):
    """Which bytes a trigger comes from and who committed them."""

    name: str
    commit: str
    path: str
    blob: str
    author: str
    email: str
    committer: str
    subject: str
    signer: str


class TriggerStatus(Model):
    """How a trigger stands: its last decisions, the latest first, and its next times (none if it has no times)."""

    state: Literal["ACTIVE", "SUSPENDED", "UNADOPTED", "REMOVED"]
    reason: str
    message: str
    since: str
    last: list[Decision]
    next: list[str]
    last_task: LastTask | None
    source: TriggerSource


class Trigger(Object):
    """What makes tasks come to be."""

    kind: Literal["Trigger"]
    metadata: TriggerMetadata
    spec: JsonValue
    status: TriggerStatus
