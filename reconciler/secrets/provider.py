"""A secret is a reference everywhere but in a driver at dispatch; here it becomes a value, and nowhere else."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from reconciler.errors import ReconcilerError


class SecretUnavailable(ReconcilerError):
    """Nobody has a value for a reference; the text holds the reference and the reason, never a value."""


class Provider(Protocol):
    """One place where values are kept."""

    def get(self, reference: str) -> str | None:
        """The value behind `provider-path/key`; None where this provider has none. Raises SecretUnavailable."""

    def describe(self, reference: str) -> str:
        """Where this provider looks for `reference`, for the message that nothing was found."""


class SecretChain:
    """Asks its providers in order; the first value wins. Values are read at every use, so a rotation needs no restart."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._providers = tuple(providers)

    def resolve(self, reference: str) -> str:
        """The value behind `reference`. Raises SecretUnavailable, which says where was looked."""
        for provider in self._providers:
            if (value := provider.get(reference)) is not None:
                return value
        places = " or ".join(provider.describe(reference) for provider in self._providers)
        raise SecretUnavailable(
            f"secret {reference} is not there: expected {places or 'a secret provider in the settings'}"
        )

    def lengths(self, references: Iterable[str]) -> dict[str, int]:
        """The length in characters of each secret that can be read; the others are left out."""
        found: dict[str, int] = {}
        for reference in sorted(set(references)):
            try:
                found[reference] = len(self.resolve(reference))
            except SecretUnavailable:
                continue
        return found
