"""Every setting, in one frozen tree: what the operator decides, each field with the sentence that documents it.

A value comes from the settings file, over that the environment, over that the flags. The reference page for settings
is generated from the descriptions below.
"""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, JsonValue, ValidationError, WithJsonSchema, model_validator

from definitions.models import Duration, Name
from reconciler.errors import SettingsError
from reconciler.policy import Permissions, Rule, Section
from reconciler.settings_layers import Layers, read_environment, read_file, read_flags

_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def parse_size(value: object) -> object:
    """`64MiB`, `10 KiB` or a number of bytes as bytes; raises ValueError for other text."""
    if not isinstance(value, str):
        return value
    digits = value.rstrip("GiBKM ")
    unit = value[len(digits) :].strip()
    if not digits.isdecimal() or unit not in _UNITS:
        raise ValueError(f"{value!r} is not a size; write 64KiB, 10MiB, 1GiB or a number of bytes")
    return int(digits) * _UNITS[unit]


Size = Annotated[
    int,
    BeforeValidator(parse_size),
    Field(ge=0),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": r"^\d+ ?([KMG]iB)?$"}, {"type": "integer", "minimum": 0}]}),
]
Limit = Annotated[int, Field(ge=1)]


class SourceSettings(Section):
    """Where the definitions come from."""

    name: Name = Field(
        default="main", description="Name of the source; it is part of every task's identity, so it must not change."
    )
    location: str = Field(
        default=".", description="A Git repository (path or `file://` URL), or `dir:PATH` for a plain folder."
    )
    ref: str | None = Field(
        default=None,
        description="Branch, tag or commit to follow; without it the branch that HEAD named at the first start.",
    )
    path: str = Field(default=".", description="Folder in the repository below which definitions are looked for.")
    poll: Duration = Field(
        default=timedelta(seconds=30), description="How often to look for a new revision when nothing hints at one."
    )
    signers: Path | None = Field(
        default=None,
        description="A file of SSH keys (`ssh-keygen` calls it allowed signers): whoever signed a commit with one is shown as its signer.",
    )


class DriverSettings(Section):
    """Whether one driver may be used at all."""

    enabled: bool = Field(default=False, description="Switch this driver on; `--enable DRIVER` does the same.")


class HttpSettings(DriverSettings):
    """The HTTP driver."""

    enabled: bool = Field(default=True, description="Switch this driver on; `--enable http` does the same.")
    loopback: bool | None = Field(
        default=None,
        description="Whether HTTP jobs may reach loopback addresses; by default under `local` only. Link-local and metadata addresses never.",
    )
    connect_timeout: Duration = Field(
        default=timedelta(seconds=10), description="How long one attempt to connect may take."
    )


class HostSettings(Section):
    """One Docker engine."""

    address: str = Field(
        pattern=r"^(unix|tcp|ssh)://.+",
        description="Where the engine listens: `unix:///path`, `tcp://host:port` or `ssh://user@host` (with the extra `docker-ssh`).",
    )
    ca: Path | None = Field(
        default=None,
        description="File with the authority that its certificate is checked against; with it TLS is used.",
    )
    certificate: Path | None = Field(default=None, description="File with the client's certificate.")
    key: Path | None = Field(default=None, description="File with the key of the client's certificate.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """Half of what a TLS connection needs would mean one without it."""
        if (self.certificate is None) != (self.key is None):
            raise ValueError("`certificate` and `key` belong together")
        if self.certificate and not self.ca:
            raise ValueError("`certificate` and `key` need `ca`: without it the connection is not encrypted")
        if self.ca and not self.address.startswith("tcp://"):
            raise ValueError("`ca` is for an address with tcp://")
        return self


class ContainerSettings(DriverSettings):
    """The container driver."""

    enabled: bool = Field(default=True, description="Switch this driver on; `--enable container` does the same.")
    hosts: dict[str, HostSettings] = Field(
        default={},
        description="Docker engines by the name that `on` calls them; without any there is `local`: DOCKER_HOST, or this machine's socket.",
    )
    timeout: Annotated[Duration, Field(gt=timedelta(0))] = Field(
        default=timedelta(seconds=30), description="How long an engine may take to answer one question."
    )


class ScriptSettings(DriverSettings):
    """The script driver."""

    enabled: bool = Field(default=True, description="Switch this driver on; `--enable script` does the same.")
    timeout: Annotated[Duration, Field(gt=timedelta(0))] = Field(
        default=timedelta(seconds=0.5), description="How long one run of a body may take."
    )
    memory: Annotated[Size, Field(ge=1 << 20)] = Field(
        default=32 << 20, description="Bytes of memory that one run of a body may use."
    )


class DriversSettings(Section):
    """Which drivers there are."""

    http: HttpSettings = HttpSettings()
    process: DriverSettings = DriverSettings()
    script: ScriptSettings = ScriptSettings()
    container: ContainerSettings = ContainerSettings()


class DispatchSettings(Section):
    """How much may be under way at once."""

    total: Limit = Field(default=64, description="Calls under way at a time, over everything.")
    per_namespace: Limit = Field(default=64, description="Calls under way at a time in one namespace.")
    per_driver: dict[str, Limit] = Field(
        default={"process": 4},
        description="Calls under way at a time by driver; drivers not named have no limit of their own.",
    )


class LimitSettings(Section):
    """How large things may become."""

    output: Size = Field(
        default=64 << 10, description="Bytes of a result as JSON; a larger one fails its step with OutputTooLarge."
    )
    log: Size = Field(
        default=10 << 20, description="Bytes of an attempt's log; of a longer one the beginning and the end are kept."
    )
    response: Size = Field(
        default=1 << 20, description="Bytes of an HTTP response; a larger one fails its call with ResponseTooLarge."
    )


class RetentionSettings(Section):
    """How long what has run is kept; its tombstone stays for ever."""

    days: Limit = Field(default=30, description="Days that a finished task is kept.")
    per_namespace: Limit = Field(
        default=1000, description="Finished tasks that are kept in one namespace, the newest ones."
    )


class SecretsSettings(Section):
    """Where secret values are found."""

    folder: Path | None = Field(
        default=None, description="Folder of the file provider: the reference `db/password` is its file db/password."
    )


class PolicySettings(Section):
    """What the watched repository may do."""

    rules: tuple[Rule, ...] = Field(
        default=(), description="Grants and denials; the most specific path decides, and among equals a denial."
    )


class ApiSettings(Section):
    """The read side."""

    enabled: bool = Field(default=True, description="Whether `reconciler run` starts the API process.")
    token_file: Path | None = Field(
        default=None,
        description="File that holds the token readers must send; needed wherever `listen` is not loopback.",
    )
    dialects: bool = Field(default=True, description="Whether the routes that old clients know are served.")


class Settings(Section):
    """The whole tree."""

    profile: Literal["local", "strict"] = Field(
        default="local",
        description="`local`: one person's machine; `strict`: nothing is allowed until policy grants it.",
    )
    state: Path = Field(
        default=Path(".reconciler"), description="State folder: the database, logs and working files of one controller."
    )
    listen: str = Field(
        default="127.0.0.1:8080",
        pattern=r"^(off|.+:\d{1,5})$",
        description="Address of the API as `host:port`, or `off`.",
    )
    adopt: Literal["start", "hold"] | None = Field(
        default=None,
        description="What a state folder that has never seen a revision does with the tasks it finds; by default `start` under local, `hold` under strict.",
    )
    wait: bool = Field(
        default=False,
        description="Wait for the state folder's lock instead of ending when another controller holds it.",
    )
    min_free: Size = Field(
        default=64 << 20,
        description="Bytes that must be free beside the state folder; below that nothing new is dispatched.",
    )
    source: SourceSettings = SourceSettings()
    drivers: DriversSettings = DriversSettings()
    dispatch: DispatchSettings = DispatchSettings()
    limits: LimitSettings = LimitSettings()
    retention: RetentionSettings = RetentionSettings()
    secrets: SecretsSettings = SecretsSettings()
    policy: PolicySettings = PolicySettings()
    api: ApiSettings = ApiSettings()

    @property
    def cold_start(self) -> Literal["start", "hold"]:
        """What a state folder without a past does with the tasks it finds."""
        return self.adopt or ("hold" if self.profile == "strict" else "start")

    @property
    def loopback(self) -> bool:
        """Whether HTTP jobs may reach this machine."""
        own = self.drivers.http.loopback
        return self.profile == "local" if own is None else own

    @property
    def enabled_drivers(self) -> frozenset[str]:
        """The names of the drivers that are switched on."""
        return frozenset(name for name, each in self.drivers if each.enabled)

    @property
    def permissions(self) -> Permissions:
        """The operator's word, as policy asks for it."""
        return Permissions(self.profile == "strict", self.enabled_drivers, self.policy.rules)


def load(file: Path | None, environ: Mapping[str, str], flags: Mapping[str, JsonValue]) -> Settings:
    """The settings from `file` (YAML), over it `environ` (`RECONCILER_*`), over it `flags`.

    Flags are named by dotted path (`source.location`, `drivers.process.enabled`); None means not given. Without `file`
    the variable RECONCILER_SETTINGS may name one. Raises SettingsError, which names the setting and where it was read:
    `file:line:column`, the variable or the flag.
    """
    layers = Layers()
    file = file or (Path(environ["RECONCILER_SETTINGS"]) if environ.get("RECONCILER_SETTINGS") else None)
    if file is not None:
        read_file(layers, file)
    read_environment(layers, environ, Settings)
    read_flags(layers, flags)
    try:
        return Settings.model_validate(layers.values)
    except ValidationError as error:
        raise SettingsError(layers.explain(error, Settings)) from None
