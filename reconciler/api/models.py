"""The answers of the native API as models: they make the OpenAPI document, and tests hold the answers against them.

No answer is built or validated through them at run time; `reconciler.status` makes the dicts.
"""

from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic.alias_generators import to_camel

StateName = Literal["CREATED", "RUNNING", "FAILED", "SUSPENDED", "REVOKED", "FINISHED"]


class Model(BaseModel):
    """camelCase outside, nothing that is not named here."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, validate_by_name=False)


Item = TypeVar("Item")


class Page(Model, Generic[Item]):
    """A part of a list; `next` is the cursor of the part after it, null at the end."""

    items: list[Item]
    next: str | None


class Object(Model):
    """The form of every object."""

    api_version: Literal["reconciler/v1"]


class Condition(Model):
    """One condition, as the ecosystem's tools read them."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


class TaskMetadata(Model):
    """Who a task is. `number` is the integer that old clients know it by."""

    namespace: str
    name: str
    uid: str
    run: int
    number: int
    labels: dict[str, str]
    annotations: dict[str, str]
    created_at: str


class Cause(Model):
    """Why a state changed, and who stands behind it."""

    kind: str
    reference: str
    author: str
    message: str


class TaskSource(Model):
    """Which bytes a task comes from and who committed them; those of `trigger` if one made it, else that is empty."""

    name: str
    trigger: str
    commit: str
    path: str
    blob: str
    author: str
    email: str
    committer: str
    subject: str
    signer: str


class PinnedDefinition(Model):
    """A definition that a task keeps from its admission on."""

    kind: str
    namespace: str
    name: str
    digest: str
    commit: str
    path: str


class TargetStatus(Model):
    """The container that an item runs in, where it is, and the exit code there once it has ended."""

    id: str
    name: str
    host: str
    exit_code: int | None


class StepStatus(Model):
    """One step, call or item; `steps` is what it runs. One that was skipped has `skip: true`.

    A step that runs in containers has an item for each of them, with its `target`.

    An approval that waits has `plan`, the digest to approve; `ahead` is how many stand in line before it, if it does;
    `failed` is how often it has failed, which is what a retry names.
    """

    name: str
    path: str
    title: str
    state: StateName
    reason: str
    message: str
    ahead: int | None
    skip: bool = False
    attempt: int
    failed: int
    calls: int
    outputs: JsonValue
    started_at: str | None
    finished_at: str | None
    expect: str | None
    expected_finish: str | None
    remaining_seconds: int | None
    wake_at: str | None
    waits_for: list[str]
    plan: str = ""
    target: TargetStatus | None = None
    steps: list["StepStatus"]


class Progress(Model):
    """How many of the steps that do work themselves have finished, of those that there are by now."""

    done: int
    total: int


class TaskSummaryStatus(Model):
    """How far a task is. `message` says in one sentence why it waits.

    `asked` has the commit behind each part of the control (`state`, `run.N`, `repin`, `steps.PATH.VERB`), but for those
    that came with the file of the task; `repinned` is the commit whose definitions it continues with, if not its first.
    """

    state: StateName
    reason: str
    message: str
    progress: Progress
    conditions: list[Condition]
    created_at: str
    started_at: str | None
    finished_at: str | None
    expected_finish: str | None
    remaining_seconds: int | None
    deadline: str | None
    outputs: JsonValue
    control: dict[str, JsonValue]
    asked: dict[str, Cause]
    repinned: str
    delete_policy: str
    source: TaskSource


class TaskStatus(TaskSummaryStatus):
    """How far a task is, with all its steps in flow order, also those not started.

    `ahead` is how many stand in line before it for its concurrency group, if it does.
    """

    ahead: int | None
    definitions: list[PinnedDefinition]
    steps: list[StepStatus]


class TaskSummary(Object):
    """A task as lists show it."""

    kind: Literal["Task"]
    metadata: TaskMetadata
    spec: dict[str, JsonValue]
    status: TaskSummaryStatus


class Task(Object):
    """A task whole."""

    kind: Literal["Task"]
    metadata: TaskMetadata
    spec: dict[str, JsonValue]
    status: TaskStatus


class StepMetadata(Model):
    """Where a step is."""

    namespace: str
    task: str
    run: int
    name: str
    path: str


class StepSpec(Model):
    """What a step is."""

    kind: str
    job: str | None
    workflow: str | None
    driver: str | None
    if_: str | None
    waits_for: list[str]
    continue_on_error: bool

    model_config = ConfigDict(alias_generator=lambda name: "if" if name == "if_" else to_camel(name))


class Step(Object):
    """One step of a task."""

    kind: Literal["Step"]
    metadata: StepMetadata
    spec: StepSpec
    status: StepStatus


class AttemptMetadata(Model):
    """Which attempt it is, and what its target calls it."""

    namespace: str
    task: str
    path: str
    number: int
    key: str
    external_name: str


class AttemptSpec(Model):
    """What was asked; secrets stand there as `***`."""

    driver: str
    job: str
    request: dict[str, JsonValue]


class AttemptStatus(Model):
    """What became of it. `code` is an exit code or an HTTP status."""

    state: StateName
    reason: str
    message: str
    calls: int
    resends: int
    answer: JsonValue
    outputs: JsonValue
    code: int | None
    exit_code: int | None
    handle: JsonValue
    started_at: str | None
    finished_at: str | None
    deadline: str | None
    wake_at: str | None


class Attempt(Object):
    """One attempt at a step."""

    kind: Literal["Attempt"]
    metadata: AttemptMetadata
    spec: AttemptSpec
    status: AttemptStatus


class Event(Model):
    """One state change, of a task and its steps or of a trigger; `path` is a step, or the slot that was decided."""

    sequence: int
    at: str
    uid: str
    namespace: str
    task: str
    trigger: str
    subject: str
    path: str
    attempt: int
    before: str
    after: str
    reason: str
    message: str
    cause: Cause
    hash: str


class ReadyAnswer(Model):
    """Whether the controller behind this API does its work."""

    ready: bool
    reason: str
    closed: str
