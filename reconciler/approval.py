"""What an approval stands for: a digest of all that is known when it is asked for.

Who approves has seen the definitions that the run keeps, its parameters and what the steps before gave. If any of it
is different when the approval arrives, it is an approval of something else.
"""

import hashlib
import json

from reconciler.position import Position
from state.records import Json, TaskSnapshot


def plan_digest(task: TaskSnapshot, position: Position) -> str:
    """`sha256:<hex>` of the pins, the parameters and the outputs of every step that comes before `position`."""
    known: dict[str, Json] = {
        "task": [task.record.uid, position.path],
        "pins": list(task.record.pins),
        "params": dict(task.record.params),
        "outputs": {path: _outputs(task, path) for path in sorted(_earlier(position))},
    }
    text = json.dumps(known, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _outputs(task: TaskSnapshot, path: str) -> Json:
    row = task.steps.get(path)
    return row.outputs if row else None


def _earlier(position: Position) -> set[str]:
    """The paths of all steps that must have ended before, directly or not, and before what it is part of."""
    found: set[str] = set()
    waiting = [position]
    while waiting:
        each = waiting.pop()
        waiting += [before for before in each.before if before.path not in found]
        found |= {before.path for before in each.before}
        if each.around and each.around.path not in found:
            waiting.append(each.around)
    return found
