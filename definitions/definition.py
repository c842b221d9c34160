"""One definition with everything that later questions need: what it says, which bytes said so, and since when.

Its text is JSON without spaces in the order of the file (the order of steps and calls has a meaning), so a pin is the
whole definition and its digest names it.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from definitions.models import KINDS, Job, Task, Trigger, Workflow

Identity = tuple[str, str, str]
"""(kind, namespace, name): unique in a source."""

Model = Job | Workflow | Task | Trigger


@dataclass(frozen=True, eq=False)
class Definition:
    """A definition as it stands in a file. `text` is its JSON, `digest` the SHA-256 of that in hex.

    `index` counts the documents of the file `path` from 0; `blob` names its bytes and `commit` the one they came with.
    """

    kind: str
    namespace: str
    name: str
    model: Model
    digest: str
    text: str
    path: str
    index: int = 0
    blob: str = ""
    commit: str = ""

    @classmethod
    def of(cls, model: Model, value: object, path: str, index: int, blob: str, commit: str) -> "Definition":
        """The definition of `model`, which was read from the JSON value `value`."""
        text = canonical(value)
        meta = model.metadata
        return cls(model.kind, meta.namespace, meta.name, model, digest_of(text), text, path, index, blob, commit)

    @classmethod
    def from_text(
        cls,
        kind: str,
        namespace: str,
        name: str,
        text: str,
        path: str,
        index: int = 0,
        blob: str = "",
        commit: str = "",
    ) -> "Definition":
        """The definition whose JSON was kept as `text`. Raises ValueError if it no longer fits the models."""
        model = KINDS[kind].model_validate(json.loads(text))
        return cls(kind, namespace, name, model, digest_of(text), text, path, index, blob, commit)

    @property
    def identity(self) -> Identity:
        """(kind, namespace, name)."""
        return (self.kind, self.namespace, self.name)

    @cached_property
    def value(self) -> dict[str, Any]:
        """The JSON value of the whole document, as the file has it."""
        loaded: dict[str, Any] = json.loads(self.text)
        return loaded

    @cached_property
    def spec_digest(self) -> str:
        """SHA-256 of `spec` with its keys sorted: writing the same in another order is no change."""
        text = json.dumps(self.value.get("spec"), ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        return digest_of(text)


def canonical(value: object) -> str:
    """`value` as JSON without spaces, keys in their order."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def digest_of(text: str) -> str:
    """SHA-256 of `text` in hex."""
    return hashlib.sha256(text.encode()).hexdigest()
