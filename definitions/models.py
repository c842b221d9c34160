"""The four kinds of file as frozen models: what a definition may say, and nothing else.

A field is named as in the YAML (camelCase there, snake_case here). Unknown keys are errors everywhere. A model checks
shapes; whether names exist and expressions make sense is checked where definitions meet (`library`, `program`).
"""

import re
import unicodedata
import zoneinfo
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    PlainSerializer,
    Strict,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_MAX_DURATION = timedelta(days=3650)
_CRON = re.compile(r"[0-9A-Za-z*/,\-]+( [0-9A-Za-z*/,\-]+){4}")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # control, format (bidi, zero width), no characters


def parse_duration(value: object) -> timedelta:
    """`1h30m`, `5s`, `250ms`, `2d` or a number of seconds as a timedelta; raises ValueError."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _bounded(float(value), value)
    if isinstance(value, str):
        parts = _DURATION.findall(value)
        if parts and "".join(number + unit for number, unit in parts) == value:
            return _bounded(sum(float(number) * _UNITS[unit] for number, unit in parts), value)
    raise ValueError(f"{value!r} is not a duration; write 30s, 5m, 1h30m, 2d or a number of seconds")


def format_duration(value: timedelta) -> str:
    """The shortest text that `parse_duration` reads back as `value`."""
    seconds = value.total_seconds()
    if seconds and seconds == int(seconds):
        for unit in ("d", "h", "m"):
            if seconds % _UNITS[unit] == 0:
                return f"{int(seconds / _UNITS[unit])}{unit}"
        return f"{int(seconds)}s"
    return f"{round(seconds * 1000)}ms"


def _bounded(seconds: float, value: object) -> timedelta:
    if not 0 <= seconds <= _MAX_DURATION.total_seconds():
        raise ValueError(f"{value!r} is out of range; a duration lies between 0 and 10 years")
    return timedelta(seconds=seconds)


def _name(value: str) -> str:
    if value.isascii() and value.isprintable() and "/" not in value and value == value.strip():
        return value
    bad = next((char for char in value if char == "/" or unicodedata.category(char) in _HIDDEN), None)
    if bad is not None:
        raise ValueError(f"the character U+{ord(bad):04X} cannot stand in a name")
    if value != value.strip():
        raise ValueError("a name neither begins nor ends with a space")
    return value


def _identifier(value: str) -> str:
    if not value.isidentifier() or value.startswith("__"):
        raise ValueError(f"{value!r} is not an identifier: expressions name it, so it is made of letters, digits and _")
    return value


def _moment(value: object) -> object:
    """Accepts `2026-11-22T06:00Z`; a time without a zone would mean something else on another machine."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{value!r} is not a time; write 2026-11-22T06:00Z") from None
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError(f"{value.isoformat()} has no time zone; write 2026-11-22T06:00Z")
    return value


def _explain(state: str, reason: str | None) -> None:
    if state != "running" and not (reason or "").strip():
        raise ValueError(f"`reason` is missing: say why it is {state}")


def _cron(value: str) -> str:
    if _CRON.fullmatch(value) is None:
        raise ValueError(f"{value!r} is not five cron fields (minute hour day month weekday)")
    return value


def _timezone(value: str) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{value!r} is not a time zone; write one as Asia/Shanghai") from None
    return value


_DURATION_SCHEMA = {
    "anyOf": [
        {"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d|w))+$"},
        {"type": "number", "minimum": 0},
    ],
    "description": "30s, 5m, 1h30m, 2d, or a number of seconds",
}
Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(_DURATION_SCHEMA),
]
Moment = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
Name = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_name)]
Identifier = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_identifier)]
ExpressionText = Annotated[str, Field(min_length=1, max_length=10_000, description="a bare expression")]
Count = Annotated[int, Field(strict=True, ge=1)]


class Model(BaseModel):
    """Frozen, camelCase outside, no unknown keys, no conversions: `yes` is no boolean and 1 is no text."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=False,
        hide_input_in_errors=True,
    )


class SecretReference(Model):
    """A value that is never in Git: `{secret: provider-path/key}`."""

    secret: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$")]


def _is_reference(value: object) -> str:
    return "reference" if isinstance(value, dict | SecretReference) else "plain"


# told apart before they are read, so that a mistake is one message and not one for each branch
Text = Annotated[
    Annotated[str, Tag("plain")] | Annotated[SecretReference, Tag("reference")], Discriminator(_is_reference)
]
Word = Annotated[
    Annotated[str | int | float | bool, Tag("plain")] | Annotated[SecretReference, Tag("reference")],
    Discriminator(_is_reference),
]


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


class Concurrency(Model):
    limit: Count
    group: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    policy: Literal["queue", "skip", "replace"] = "queue"


class Verify(Model):
    """How to find out what became of a call whose reply was lost."""

    url: str
    found: ExpressionText  # true: the call was acted on
    result: ExpressionText = "result"


class HttpCancel(Model):
    method: Literal["POST", "PUT", "PATCH", "DELETE", "GET"] = "POST"
    url: str


class Http(Model):
    """One HTTP call. Values that are None in `query` are left out."""

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    url: Annotated[str, Field(min_length=1, max_length=8192)]
    query: dict[str, JsonValue] = {}
    headers: dict[str, Text] = {}
    # `json` would hide a method of BaseModel
    json_body: Annotated[JsonValue, Field(alias="json")] = None
    form: dict[str, Word] | None = None
    body: Text | None = None
    timeout: Duration = timedelta(seconds=30)
    expect_status: list[Annotated[int, Field(strict=True, ge=100, le=599)]] | None = None  # None: any 2xx
    idempotent: bool = False
    verify: Verify | None = None
    already_exists: ExpressionText | None = None
    cancel: HttpCancel | None = None


class ContainerSelector(Model):
    """Which running containers; what is given must all match."""

    labels: dict[str, str] = {}
    names: list[str] = []
    ids: list[str] = []
    image: str | None = None


class Mount(Model):
    source: str
    target: str
    read_only: bool = True


class Resources(Model):
    cpu: str | float | None = None
    memory: str | None = None


class ContainerRun(Model):
    image: Annotated[str, Field(min_length=1)]
    command: list[Text] | str | None = None
    env: dict[str, Text] = {}
    labels: dict[str, str] = {}
    mounts: list[Mount] = []
    network: str | None = None
    resources: Resources = Resources()
    pull: Literal["never", "missing", "always"] = "missing"
    user: str | None = None
    workdir: str | None = None
    privileged: bool = False


class Container(Model):
    """`exec` in running containers, or `run` of a new one."""

    exec: list[Text] | str | None = None
    in_: Annotated[ContainerSelector | None, Field(alias="in")] = None
    on: list[str] = []
    user: str | None = None
    workdir: str | None = None
    privileged: bool = False
    env: dict[str, Text] = {}
    args: list[Text] = []
    stdin: Text | None = None
    receipt: Literal["auto", "always", "never"] = "auto"
    run: ContainerRun | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.exec is None) == (self.run is None):
            raise ValueError("give either `exec`, for running containers, or `run`, for a new one")
        if self.exec is not None and self.in_ is None:
            raise ValueError("`exec` needs `in`: which containers it runs in")
        return self


class KubernetesExec(Model):
    namespace: str = "default"
    selector: str | None = None
    pod: str | None = None
    container: str | None = None
    command: list[Text] | str
    receipt: Literal["auto", "always", "never"] = "auto"

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.selector is None) == (self.pod is None):
            raise ValueError("give either `selector` or `pod`")
        return self


class KubernetesJob(Model):
    namespace: str = "default"
    image: Annotated[str, Field(min_length=1)]
    command: list[Text] | str | None = None
    args: list[Text] = []
    env: dict[str, Text] = {}
    labels: dict[str, str] = {}
    resources: Resources = Resources()
    service_account: str | None = None
    workdir: str | None = None
    node_selector: dict[str, str] = {}
    pull: Literal["never", "missing", "always"] = "missing"


class Kubernetes(Model):
    """`exec` in existing pods, or a Kubernetes `job`."""

    exec: KubernetesExec | None = None
    job: KubernetesJob | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.exec is None) == (self.job is None):
            raise ValueError("give either `exec`, for existing pods, or `job`")
        return self


class Ansible(Model):
    nodes: list[str] | str
    user: str = "root"
    tasks: list[dict[str, JsonValue]] | list[str]
    params: dict[str, JsonValue] = {}
    forks: Count = 5
    mode: Literal["single", "perNode"] = "single"


class Process(Model):
    """A process beside the controller; never through a shell."""

    command: Annotated[list[Text], Field(min_length=1)]
    env: dict[str, Text] = {}
    stdin: Text | None = None
    workdir: str | None = None
    grace: Duration = timedelta(seconds=10)  # between TERM and KILL


class Script(Model):
    body: Annotated[str, Field(min_length=1, max_length=100_000)]


DRIVERS = ("http", "container", "kubernetes", "process", "ansible", "script")


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
    timeout: Duration | None = None
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
    timeout: Duration | None = None
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
    repin: Annotated[str, Field(min_length=4)] | None = None
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
        if sum(each is not None for each in (self.cron, self.on_commit, self.on_change)) != 1:
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
