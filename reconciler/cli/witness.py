"""What the demo service itself counted: the other side's word for how often it was called."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.request import urlopen

from reconciler.cli.failure import Failure

ONCE = {f"/api{number}": 1 for number in (1, 3, 4, 5, 6)}


class Witness:
    """The service's counts, by task. `not_ready`: how many polls of one attempt its api2 answers with no age yet."""

    def __init__(self, address: str, not_ready: int) -> None:
        self._address = address
        self._not_ready = not_ready

    def calls(self, task: Mapping[str, Any]) -> dict[str, int]:
        """How often each path was called for a task; the keys of its calls begin with its uid."""
        counts: dict[str, int] = {}
        for text, count in self._keys(task).items():
            path = text.partition(" ")[0]
            counts[path] = counts.get(path, 0) + count
        return counts

    def confirm(self, task: Mapping[str, Any], resent: int = 0) -> None:
        """Every API was called once, api2 until it knew, and no call came twice. Raises Failure if that is not true.

        `resent`: so many polls may have come twice, under their own key, because the reply died with the controller.
        """
        calls = self.calls(task)
        polls = calls.pop("/api2", 0)
        twice = sum(count > 1 for count in self._keys(task).values())
        others = ", ".join(f"{path} {count}" for path, count in calls.items())
        print(f"   The service counted for {task['metadata']['name']}: /api2 {polls}, {others}.")
        check(
            "every API was called once, api2 until it knew",
            calls == ONCE and 0 <= polls - self._not_ready - 1 <= resent,
        )
        check("no call arrived twice" + (", but perhaps the one cut off" if resent else ""), twice <= resent)

    def _keys(self, task: Mapping[str, Any]) -> dict[str, int]:
        counted: dict[str, int] = get(f"{self._address}/counts")["keys"]
        uid = task["metadata"]["uid"]
        return {text: count for text, count in counted.items() if text.partition(" ")[2].startswith(f"{uid}/")}


def get(address: str) -> dict[str, Any]:
    """The answer of the service to a GET."""
    with urlopen(address, timeout=10) as response:  # noqa: S310 - our own child's address
        answer: dict[str, Any] = json.load(response)
    return answer


def check(claim: str, holds: bool) -> None:
    """Print a claim that is true; raises Failure for one that is not."""
    if not holds:
        raise Failure(f"not true: {claim}")
    print(f"   ok: {claim}", flush=True)
