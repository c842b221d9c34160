"""Twelve workflows that together use every way to a target; each is crashed at every single yield point."""

from typing import Any

from tests.simulation.case import Case, Flow, Operation, Step, Work

FAST = 0.5


def _case(*steps: Step, order: tuple[object, ...] = (), operations: tuple[Operation, ...] = ()) -> Case:
    flow = Flow("flow", steps, order)
    return Case(7, (flow,), (Operation(0.0, "add", "task", "flow"), *operations))


def _step(name: str, *works: Work, **options: Any) -> Step:
    return Step(name, works, **options)


GET, POST, VERIFY = Work("get"), Work("post"), Work("verify", seconds=1.5)
EXISTS, IDEMPOTENT = Work("exists", on_lost="retry"), Work("idempotent", on_lost="retry")
PROCESS, CONTAINER = Work("process", seconds=1.5), Work("container", seconds=1.5)

CASES: dict[str, Case] = {
    "a get": _case(_step("a", GET)),
    "a post": _case(_step("a", POST)),
    "a post that can be looked up": _case(_step("a", VERIFY), _step("b", GET, reads=("a",))),
    "a post that is refused a second time": _case(_step("a", EXISTS), _step("b", EXISTS, needs=("a",))),
    "a post under a key": _case(_step("a", IDEMPOTENT), _step("b", IDEMPOTENT, reads=("a",))),
    "a process": _case(_step("a", PROCESS)),
    "an exec": _case(_step("a", CONTAINER)),
    "every kind in a row": _case(
        _step("a", PROCESS),
        _step("b", CONTAINER, reads=("a",)),
        _step("c", VERIFY, reads=("b",)),
        order=("a", "b", "c"),
    ),
    "a diamond": _case(
        _step("a", GET),
        _step("b", PROCESS, reads=("a",)),
        _step("c", CONTAINER, reads=("a",)),
        _step("d", IDEMPOTENT, reads=("b", "c")),
        order=("a", ("b", "c"), "d"),
    ),
    "polls": _case(
        _step("a", Work("get", polls=3)), _step("b", Work("process", polls=2)), _step("c", Work("verify", polls=2))
    ),
    "failures and conditions": _case(
        _step("a", Work("process", fails=1, retry=2)),
        _step("b", Work("container", fails=3, retry=1), continue_on_error=True),
        _step("c", GET, reads=("b",), condition="steps.b.value != None"),
        _step("d", VERIFY, needs=("b", "c")),
    ),
    "calls, a stop and a file that goes": _case(
        _step("a", GET, PROCESS, timeout=15),
        _step("b", Work("process", seconds=20.0, timeout=3)),
        _step("c", Work("container", seconds=20.0)),
        operations=(Operation(2.0, "revoke", "task"), Operation(12.0, "remove", "task")),
    ),
}
