"""The driver blocks as models: what can be asked of an HTTP target, a container, a cluster, a process, a node, a script.

Every block is complete from the start, so that a definition's shape never depends on which drivers a version has.
"""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from definitions.notation import Count, Duration, ExpressionText, Model, Text, TimeLimit, Word


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
    timeout: TimeLimit = timedelta(seconds=30)
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

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not (self.labels or self.names or self.ids or self.image):
            raise ValueError("`in` is empty: give labels, names, ids or an image")
        return self


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
    grace: Duration = timedelta(seconds=10)  # between TERM and KILL
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
