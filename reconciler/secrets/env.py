"""Secrets from the environment of the controller: `db/password` is RECONCILER_SECRET_DB_PASSWORD."""

import re
from collections.abc import Mapping

_PREFIX = "RECONCILER_SECRET_"


class EnvSecrets:
    """A provider over a mapping of variables, the process's own as a rule."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def get(self, reference: str) -> str | None:
        """The variable's text; an empty variable counts as none."""
        return self._environ.get(_variable(reference)) or None

    def describe(self, reference: str) -> str:
        """The variable's name."""
        return f"the variable {_variable(reference)}"


def _variable(reference: str) -> str:
    return _PREFIX + re.sub(r"[^A-Z0-9]", "_", reference.upper())
