"""A container block on its way to an engine: every word as text, and what is wrong with it named before anything happens."""

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from definitions.notation import SecretReference
from definitions.requests import Container, ContainerRun, Resources
from definitions.values import Json, spell
from reconciler.drivers.protocol import Call
from reconciler.drivers.request import environment, require_passable

OWNER = "reconciler.dev/controller"
SPEC = "reconciler.dev/spec-hash"
CALL = "reconciler.dev/call"
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


@dataclass(frozen=True, slots=True)
class Target:
    """A running container as it was found. `since`: when it was started, as its engine says."""

    id: str
    name: str
    host: str
    since: str

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"{self.name} ({self.id[:12]} on {self.host})"

    @property
    def about(self) -> dict[str, Json]:
        """What a result says of it."""
        return {"id": self.id, "name": self.name, "host": self.host}


def read_target(block: Mapping[str, Any]) -> Target | None:
    """The container that a call is about; None where it is about finding some. Raises ValueError."""
    found = block.get("target")
    if found is None:
        return None
    if not isinstance(found, dict) or not all(isinstance(found.get(key), str) for key in Target.__slots__):
        raise ValueError("the target is no container that was found")
    return Target(**{key: found[key] for key in Target.__slots__})


def read_block(block: Mapping[str, Any]) -> Container:
    """The block as a model, every word as text. Raises ValueError naming what is wrong."""
    plain = {key: value for key, value in block.items() if key != "target"}
    for key in ("exec", "args"):
        if key in plain:
            plain[key] = _words(plain[key])
    if "env" in plain:
        plain["env"] = environment(plain["env"])
    if isinstance(plain.get("run"), dict):
        run = dict(plain["run"])
        run |= {"command": _words(run["command"])} if run.get("command") is not None else {}
        run |= {"env": environment(run.get("env"))}
        plain["run"] = run
    found = Container.model_validate(plain)
    variables = {**found.env, **(found.run.env if found.run else {})}
    require_passable((*_command(found), *variables, *map(str, variables.values())))
    return found


@dataclass(frozen=True, slots=True)
class Words:
    """A command: its words, and which of them are secret."""

    words: tuple[str, ...]
    secret: tuple[bool, ...]

    @property
    def mask(self) -> str:
        """A 1 for each secret word, a 0 for each other."""
        return "".join("1" if each else "0" for each in self.secret)

    @property
    def shown(self) -> list[str]:
        """The words with nothing in the places of secret ones."""
        return ["" if hidden else word for word, hidden in zip(self.words, self.secret, strict=True)]

    @property
    def hidden(self) -> list[str]:
        """The secret words in their order."""
        return [word for word, hidden in zip(self.words, self.secret, strict=True) if hidden]


def read_words(block: Container, references: Mapping[str, str]) -> Words:
    """The words that are run; `references` are the places of secrets in the request."""
    first, others = _list(block.exec), _list(block.args)
    places = [f"/exec/{index}" for index in range(len(first))] + [f"/args/{index}" for index in range(len(others))]
    return Words((*first, *others), tuple(place in references for place in places))


def _command(block: Container) -> list[str]:
    """All words of it; a text is split like a shell's word list."""
    return [*_list(block.exec), *_list(block.args), *_list(block.run.command if block.run else None)]


def exec_options(block: Container) -> dict[str, Any]:
    """What the engine is told about an execution besides its command."""
    options: dict[str, Any] = {
        "Privileged": block.privileged,
        "Env": [f"{key}={each}" for key, each in block.env.items()],
    }
    options |= {"User": block.user} if block.user else {}
    return options | ({"WorkingDir": block.workdir} if block.workdir else {})


def spec_hash(call: Call) -> str:
    """What tells whether a container of our name was made for this very request; secrets stand there as stars."""
    return hashlib.sha256(json.dumps(dict(call.request), sort_keys=True).encode(errors="replace")).hexdigest()[:32]


def run_config(run: ContainerRun, call: Call, grace: float, log_size: int) -> dict[str, Any]:
    """The container that is made, as the engine's API wants it. Raises ValueError."""
    labels = {**run.labels, **call.labels, CALL: call.call_key, SPEC: spec_hash(call)}
    host: dict[str, Any] = {
        "Privileged": run.privileged,
        "Binds": [f"{each.source}:{each.target}{':ro' if each.read_only else ''}" for each in run.mounts],
        "RestartPolicy": {"Name": "no"},
        # of the engine's own ways this one keeps bytes as they are
        "LogConfig": {"Type": "local", "Config": {"max-size": str(max(log_size, 1 << 16)), "max-file": "2"}},
        **_resources(run.resources),
    }
    host |= {"NetworkMode": run.network} if run.network else {}
    config: dict[str, Any] = {
        "Image": run.image,
        "Env": [f"{key}={each}" for key, each in run.env.items()],
        "Labels": labels,
        "StopTimeout": max(0, round(grace)),
        "HostConfig": host,
    }
    config |= {"Cmd": _list(run.command)} if run.command is not None else {}
    config |= {"User": run.user} if run.user else {}
    return config | ({"WorkingDir": run.workdir} if run.workdir else {})


def _resources(resources: Resources) -> dict[str, int]:
    found: dict[str, int] = {}
    if resources.cpu is not None:
        found["NanoCpus"] = round(_cpus(str(resources.cpu)) * 1e9)
    if resources.memory is not None:
        found["Memory"] = _bytes(resources.memory)
    return found


def _cpus(text: str) -> float:
    try:
        return float(text[:-1]) / 1000 if text.endswith("m") else float(text)
    except ValueError:
        raise ValueError(f"resources.cpu: {text!r} is no number of processors; write 0.5 or 500m") from None


def _bytes(text: str) -> int:
    number = text.strip().lower().removesuffix("b").removesuffix("i")
    unit = number[-1:] if number[-1:] in _UNITS else ""
    try:
        return int(float(number.removesuffix(unit)) * _UNITS[unit])
    except ValueError:
        raise ValueError(f"resources.memory: {text!r} is no size; write 64Mi or 1Gi") from None


def _list(words: Sequence[str | SecretReference] | str | None) -> list[str]:
    return shlex.split(words) if isinstance(words, str) else [str(word) for word in words or ()]


def _words(value: Any) -> Any:
    return [spell(word) for word in value] if isinstance(value, list) else value
