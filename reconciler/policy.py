"""What the operator lets the watched repository do: a pure question with two answers, None or a Refusal.

Rules live in the settings, outside the repository they judge. A rule speaks for the definitions below its path; of the
rules that speak to a question the one with the most specific path wins, and among equals a denial. Where no rule
speaks, the profile does: `local` lets it pass, `strict` refuses it.
"""

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue

from definitions.models import Model
from reconciler.errors import Refusal
from reconciler.urls import read_url

Kind = Literal["drivers", "hosts", "images", "namespaces", "mounts", "secrets", "privileged"]
Patterns = tuple[Annotated[str, Field(min_length=1)], ...]

_CODES: Mapping[str, str] = {"hosts": "E-HTTP-HOST"}


class Section(Model):
    """A part of the settings: lax about types, because the environment knows only text."""

    model_config = ConfigDict(strict=False)


class Rule(Section):
    """What definitions below `path` may use, or may not. Lists hold patterns in which `*` stands for any text."""

    path: str = Field(
        default="", description="Folder or file in the repository that the rule speaks for; empty: all of it."
    )
    effect: Literal["allow", "deny"] = Field(
        default="allow", description="Whether the rule grants or forbids what it lists."
    )
    drivers: Patterns = Field(default=(), description="Drivers by name, for example `process`.")
    hosts: Patterns = Field(default=(), description="HTTP hosts, `api.example.org`, `*.example.org` or `host:port`.")
    methods: Patterns = Field(
        default=(), description="HTTP methods that the hosts of this rule are meant for; empty: every method."
    )
    images: Patterns = Field(default=(), description="Container images, for example `registry.example.org/team/*`.")
    namespaces: Patterns = Field(default=(), description="Kubernetes namespaces.")
    secrets: Patterns = Field(default=(), description="Secret references, for example `db/*`.")
    mounts: Patterns = Field(
        default=(), description="What containers may see of their host: folders, `/srv/data*`, and volumes by name."
    )
    privileged: bool = Field(default=False, description="Privileged containers and executions as another user's root.")


@dataclass(frozen=True, slots=True)
class Permissions:
    """The operator's word, ready to be asked: the rules, the profile and the drivers that are switched on."""

    strict: bool
    enabled: frozenset[str]
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class _Question:
    kind: Kind
    value: str
    method: str = ""
    port: int | None = None


def allowed(driver: str, request: Mapping[str, JsonValue], path: str, permissions: Permissions) -> Refusal | None:
    """Whether the definition at `path` may make this call; a Refusal names the setting that would allow it.

    `request` is the rendered driver block as JSON (by alias). A URL that cannot be read is refused, not passed.
    """
    if driver not in permissions.enabled:
        return Refusal(
            "E-POLICY", f"the {driver} driver is off: set `drivers.{driver}.enabled: true` or give `--enable {driver}`"
        )
    try:
        questions = tuple(_questions(driver, request))
    except ValueError as error:
        return Refusal("E-HTTP-HOST", f"{error}")
    return next((refusal for each in questions if (refusal := _judge(each, path, permissions))), None)


def allowed_secret(reference: str, path: str, permissions: Permissions) -> Refusal | None:
    """Whether the definition at `path` may use the secret behind `reference`."""
    return _judge(_Question("secrets", reference), path, permissions)


def _judge(question: _Question, path: str, permissions: Permissions) -> Refusal | None:
    speaking = [rule for rule in permissions.rules if _covers(rule.path, path) and _speaks(rule, question)]
    deciding = max(speaking, key=lambda rule: (_depth(rule.path), rule.effect == "deny"), default=None)
    if deciding is None:
        return _by_profile(question, path, permissions)
    return None if deciding.effect == "allow" else _denied(question, path, deciding)


def _by_profile(question: _Question, path: str, permissions: Permissions) -> Refusal | None:
    # A granted host grants the http driver with it: nobody should have to say the same thing twice.
    if question.kind == "mounts" and question.value.startswith("/"):
        entry = f"`mounts: [{question.value}]`"
        reason = "a folder of the host needs a rule, also under the local profile"
        where = path or "this definition"
        return Refusal("E-POLICY", f"{_describe(question)} is not granted to {where}: {reason}: add one with {entry}")
    if not permissions.strict or (question.kind == "drivers" and question.value == "http"):
        return None
    entry = "`privileged: true`" if question.kind == "privileged" else f"`{question.kind}: [{question.value}]`"
    return Refusal(
        _CODES.get(question.kind, "E-POLICY"),
        f"{_describe(question)} is not granted to {path or 'this definition'}: add a rule with {entry} to `policy.rules`",
    )


def _denied(question: _Question, path: str, rule: Rule) -> Refusal:
    where = f"path {rule.path!r}" if rule.path else "the whole repository"
    text = f"{_describe(question)} is denied to {path or 'this definition'} by the rule for {where} in `policy.rules`"
    return Refusal(_CODES.get(question.kind, "E-POLICY"), text)


def _describe(question: _Question) -> str:
    names = {
        "hosts": "HTTP host",
        "secrets": "secret",
        "drivers": "driver",
        "images": "image",
        "namespaces": "namespace",
        "mounts": "the mount",
    }
    if question.kind == "privileged":
        return "a privileged container"
    method = f" with {question.method}" if question.method else ""
    return f"{names[question.kind]} {question.value}{method}"


def _covers(folder: str, path: str) -> bool:
    parts = _parts(folder)
    return _parts(path)[: len(parts)] == parts


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in {"", "."}]


def _depth(path: str) -> int:
    return len(_parts(path))


def _speaks(rule: Rule, question: _Question) -> bool:
    if question.kind == "privileged":
        return rule.privileged
    if question.kind == "hosts":
        return _method_fits(rule, question) and any(_host_fits(entry, question) for entry in rule.hosts)
    patterns: Patterns = getattr(rule, question.kind)
    return any(fnmatchcase(question.value, pattern) for pattern in patterns)


def _method_fits(rule: Rule, question: _Question) -> bool:
    return not rule.methods or question.method in {method.upper() for method in rule.methods}


def _host_fits(pattern: str, question: _Question) -> bool:
    host, port = _split_port(pattern.lower())
    return fnmatchcase(question.value, host) and port in {None, question.port}


def _split_port(pattern: str) -> tuple[str, int | None]:
    """`host:port` in parts; an IPv6 address has a port only behind its brackets."""
    host, _, port = pattern.rpartition(":")
    if port.isdecimal() and (host.endswith("]") or (host and ":" not in host)):
        return host.strip("[]"), int(port)
    return pattern.strip("[]"), None


def _questions(driver: str, request: Mapping[str, JsonValue]) -> Iterator[_Question]:
    yield _Question("drivers", driver)
    if driver == "http":
        yield from _http_questions(request)
    elif driver == "container":
        yield from _container_questions(request)
    elif driver == "kubernetes":
        yield from _kubernetes_questions(request)


def _http_questions(request: Mapping[str, JsonValue]) -> Iterator[_Question]:
    yield _host_question(request.get("url"), request.get("method", "GET"))
    if verify := _block(request, "verify"):
        yield _host_question(verify.get("url"), "GET")
    if cancel := _block(request, "cancel"):
        yield _host_question(cancel.get("url"), cancel.get("method", "POST"))


def _host_question(url: JsonValue, method: JsonValue) -> _Question:
    parts = read_url(str(url))
    return _Question("hosts", parts.host, str(method).upper(), parts.port)


def _container_questions(request: Mapping[str, JsonValue]) -> Iterator[_Question]:
    run = _block(request, "run")
    if run and run.get("image"):
        yield _Question("images", str(run["image"]))
    mounts = run.get("mounts")
    for mount in mounts if isinstance(mounts, list) else ():
        yield _Question("mounts", _mounted(mount))
    network = str(run.get("network") or "")
    if request.get("privileged") or run.get("privileged") or network == "host" or network.startswith("container:"):
        yield _Question("privileged", "container")


def _mounted(mount: JsonValue) -> str:
    """What of the host a mount shows, as one path whatever way it is written."""
    source = str(mount.get("source", "")) if isinstance(mount, dict) else ""
    return posixpath.normpath(source).replace("//", "/") if source.startswith("/") else source


def _kubernetes_questions(request: Mapping[str, JsonValue]) -> Iterator[_Question]:
    for name in ("exec", "job"):
        if block := _block(request, name):
            yield _Question("namespaces", str(block.get("namespace", "default")))
            if block.get("image"):
                yield _Question("images", str(block["image"]))


def _block(request: Mapping[str, JsonValue], name: str) -> Mapping[str, JsonValue]:
    value = request.get(name)
    return value if isinstance(value, dict) else {}
