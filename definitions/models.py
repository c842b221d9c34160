"""The four kinds of file as frozen models: what a definition may say, and nothing else.

A field is named as in the YAML (camelCase there, snake_case here). Unknown keys are errors everywhere. A model checks
shapes; whether names exist and expressions make sense is checked where definitions meet (`compile`, `library`).
"""

import re
import zoneinfo
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, Strict, model_validator

from definitions.cron import cron_objection
from definitions.notation import (
    Commit,
    Count,
    Duration,
    ExpressionText,
    Identifier,
    Model,
    Moment,
    Name,
    SecretReference,
    TimeLimit,
    format_duration,
    parse_duration,
    parse_moment,
)
from definitions.requests import DRIVERS, Ansible, Container, Http, Kubernetes, Process, Script, Verify

__all__ = [
    "DRIVERS",
    "KINDS",
    "Call",
    "Concurrency",
    "Control",
    "Definition",
    "Duration",
    "Http",
    "Job",
    "JobSpec",
    "Model",
    "Name",
    "OnLost",
    "Param",
    "ParamType",
    "Params",
    "Process",
    "Retry",
    "SecretReference",
    "Step",
    "StepControl",
    "Task",
    "TaskSpec",
    "Trigger",
    "TriggerSpec",
    "Verify",
    "Workflow",
    "WorkflowSpec",
    "format_duration",
    "parse_duration",
    "parse_moment",
]

_OF_A_MACHINE = re.compile(r"localtime|posixrules|Factory|(posix|right)/.*")
"""Zones that mean something else on each machine, or count leap seconds."""


def _explain(state: str, reason: str | None) -> None:
    if state != "running" and not (reason or "").strip():
        raise ValueError(f"`reason` is missing: say why it is {state}")


def _cron(value: str) -> str:
    if (reason := cron_objection(value)) is not None:
        raise ValueError(f"{value[:80]!r} is no time: {reason}")
    return " ".join(value.split())


def _timezone(value: str) -> str:
    try:
        if _OF_A_MACHINE.fullmatch(value):
            raise ValueError(value)
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{value!r} is not a time zone; write one as Asia/Shanghai") from None
    return value


class Metadata(Model):
    name: Name
    namespace: Name = "default"
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class ParamType(StrEnum):
    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    OBJECT = "object"
    ARRAY = "array"
    ANY = "any"


class Param(Model):
    """A parameter; the short form `name: string` means a required one of that type without a default."""

    type: Annotated[ParamType, Strict(False)] = ParamType.ANY
    default: JsonValue = None
    required: bool | None = None  # None: required unless it has a default
    enum: Annotated[list[JsonValue], Field(min_length=1)] | None = None
    description: str = ""

    @property
    def needed(self) -> bool:
        return "default" not in self.model_fields_set if self.required is None else self.required


def _param(value: object) -> object:
    return {"type": value} if isinstance(value, str) else value


Params = dict[Identifier, Annotated[Param, BeforeValidator(_param, json_schema_input_type=Param | ParamType)]]


class Retry(Model):
    """Another attempt after a failed one."""

    limit: Count | Literal["unlimited"] = 1  # attempts after the first
    every: Duration = timedelta(seconds=5)
    backoff: Annotated[float, Field(ge=1, le=100)] = 1.0
    max_every: Duration = timedelta(hours=1)


class OnLost(StrEnum):
    HOLD = "hold"
    RETRY = "retry"
    FAIL = "fail"


Policy = Literal["queue", "skip", "replace"]


class Concurrency(Model):
    limit: Count
    group: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    policy: Policy = "queue"


class _Blocks(Model):
    """The driver blocks; a Job has one of them, a step at the most."""

    http: Http | None = None
    container: Container | None = None
    kubernetes: Kubernetes | None = None
    process: Process | None = None
    ansible: Ansible | None = None
    script: Script | None = None

    @property
    def drivers(self) -> tuple[str, ...]:
        """The blocks that are given; more than one is a mistake that the compiler reports."""
        return tuple(name for name in DRIVERS if getattr(self, name) is not None)

    @property
    def driver(self) -> str | None:
        return next(iter(self.drivers), None)


class _Options(Model):
    """What a job, a step and a call can all say about how they run."""

    title: str = ""
    description: str = ""
    outputs: dict[Identifier, ExpressionText] = {}
    until: ExpressionText | None = None
    every: Duration | None = None
    max_calls: Count | None = None
    retry: Retry | None = None
    timeout: TimeLimit | None = None
    expect: Duration | None = None
    parallelism: Count | None = None
    concurrency: Concurrency | None = None
    on_lost: Annotated[OnLost, Strict(False)] | None = None
    sample: JsonValue = None


class JobSpec(_Blocks, _Options):
    params: Params = {}


class Call(_Blocks, _Options):
    """One call of a step: a job by name, or a driver block of its own."""

    job: Name | None = None
    with_: Annotated[dict[Identifier, JsonValue], Field(alias="with")] = {}
    if_: Annotated[ExpressionText | None, Field(alias="if")] = None
    for_each: JsonValue = None
    continue_on_error: bool = False


class Approval(Model):
    message: str


class Wait(Model):
    for_: Annotated[Duration | None, Field(alias="for")] = None
    until: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.for_ is None) == (self.until is None):
            raise ValueError("give either `for`, a duration, or `until`, a time")
        return self


class Step(Call):
    """One step of a workflow: exactly one of job, driver block, calls, workflow, approval, wait."""

    calls: dict[Identifier, Call] | None = None
    workflow: Name | None = None
    approval: Approval | None = None
    wait: Wait | None = None
    needs: list[Identifier] = []


Flow = list[Any]  # list[Identifier | Flow]: checked by `flow`, which names the bad entry


class WorkflowSpec(Model):
    title: str = ""
    description: str = ""
    params: Params = {}
    flow: Annotated[
        Flow | None, Field(json_schema_extra={"items": {"anyOf": [{"type": "string"}, {"type": "array"}]}})
    ] = None
    steps: Annotated[dict[Identifier, Step], Field(min_length=1)]
    outputs: dict[Identifier, ExpressionText] = {}
    timeout: TimeLimit | None = None
    concurrency: Concurrency | None = None
    on_exit: Step | None = None


class TaskSpec(Model):
    """What a task runs, and with which parameters."""

    workflow: Name | None = None
    job: Name | None = None
    with_: Annotated[dict[Identifier, JsonValue], Field(alias="with")] = {}

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.workflow is None) == (self.job is None):
            raise ValueError("give either `workflow` or `job`: what is to run")
        return self

    @property
    def target(self) -> tuple[str, str]:
        """Kind and name of what runs."""
        return ("Workflow", self.workflow) if self.workflow is not None else ("Job", self.job or "")


class RetryFailed(Model):
    failed: Count
    reason: Annotated[str, Field(min_length=1)] | None = None


class Skip(Model):
    reason: Annotated[str, Field(min_length=1)]
    outputs: dict[Identifier, JsonValue] = {}


class Approve(Model):
    plan: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class Resolve(Model):
    attempt: Count
    as_: Annotated[Literal["succeeded", "failed"], Field(alias="as")]
    reason: Annotated[str, Field(min_length=1)]
    outputs: dict[Identifier, JsonValue] = {}


class StepControl(Model):
    retry: RetryFailed | None = None
    skip: Skip | None = None
    approve: Approve | None = None
    resolve: Resolve | None = None
    expect: Duration | None = None


class Control(Model):
    """The part of a task that later commits change."""

    state: Literal["running", "suspended", "revoked"] = "running"
    reason: str | None = None
    until: Moment | None = None
    run: Count = 1
    repin: Commit | None = None
    steps: dict[str, StepControl] = {}

    @model_validator(mode="after")
    def _explained(self) -> Self:
        _explain(self.state, self.reason)
        return self


class TriggerTask(TaskSpec):
    """What each of a trigger's tasks runs."""


class OnCommit(Model):
    paths: Annotated[list[str], Field(min_length=1)]


class TriggerSpec(Model):
    """When a task comes to be: at times, at commits or at changed inputs."""

    task: TriggerTask
    cron: Annotated[str, AfterValidator(_cron)] | None = None
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    missed: Literal["skip", "latest", "all"] = "latest"
    within: Duration | None = None
    overlap: Literal["skip", "queue", "replace"] = "skip"
    on_commit: OnCommit | None = None
    on_change: Literal[True] | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        given = sum(each is not None for each in (self.cron, self.on_commit, self.on_change))
        if given == 0:
            raise ValueError("give one of `cron`, `onCommit`, `onChange`: when a task comes to be")
        if given > 1:
            raise ValueError("give one of `cron`, `onCommit` and `onChange`, not several")
        return self


class TriggerControl(Model):
    state: Literal["running", "suspended"] = "running"
    reason: str | None = None

    @model_validator(mode="after")
    def _explained(self) -> Self:
        _explain(self.state, self.reason)
        return self


class _Envelope(Model):
    api_version: Literal["reconciler/v1"]
    metadata: Metadata


class Job(_Envelope):
    """One unit of work."""

    kind: Literal["Job"]
    spec: JobSpec


class Workflow(_Envelope):
    """Jobs in an order."""

    kind: Literal["Workflow"]
    spec: WorkflowSpec


class Task(_Envelope):
    """One desired run."""

    kind: Literal["Task"]
    spec: TaskSpec | None = None  # none: this file controls a task that a trigger made
    delete_policy: Literal["finish", "revoke"] = "finish"
    control: Control = Control()

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.spec is None and "control" not in self.model_fields_set:
            raise ValueError("`spec` is missing: what is to run")
        return self


class Trigger(_Envelope):
    """Tasks that desire themselves."""

    kind: Literal["Trigger"]
    spec: TriggerSpec
    control: TriggerControl = TriggerControl()


Definition = Job | Workflow | Task | Trigger
KINDS: dict[str, type[Job | Workflow | Task | Trigger]] = {
    "Job": Job,
    "Workflow": Workflow,
    "Task": Task,
    "Trigger": Trigger,
}
