"""Which running containers a command is for: found once for an attempt, on all hosts that it names, and recorded."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from definitions.requests import ContainerSelector
from reconciler.drivers.container_request import Target
from reconciler.drivers.engine import Engine, EngineError, NoAnswer, Refused
from reconciler.drivers.protocol import Call, Ended, NotStarted, Observation
from state.records import Json

MOST = 1000


async def select(call: Call, selector: ContainerSelector, engines: Mapping[str, Engine]) -> Observation:
    """The containers that `selector` means now, in the order of hosts and names; none at all is a failure.

    Nothing is started here, so an engine that does not answer is proof that nothing was.
    """
    try:
        found = [each for part in await _on_all(selector, engines) for each in part]
    except EngineError as error:
        return NotStarted(f"the targets are not known: {error}", refused=True)
    if missing := _missing(selector, found):
        return Ended(False, message=f"NoTarget: {missing} on {', '.join(engines)}")
    if len(found) > MOST:
        return Ended(False, message=f"{len(found)} containers match; at most {MOST} are run in")
    for each in found:
        call.log.write(f"target: {each.label}\n".encode(errors="replace"), "driver")
    targets: list[Json] = [{**each.about, "since": each.since} for each in found]
    return Ended(True, {"targets": targets})


async def _on_all(selector: ContainerSelector, engines: Mapping[str, Engine]) -> list[list[Target]]:
    return await asyncio.gather(*(_on(selector, engine) for engine in engines.values()))


async def _on(selector: ContainerSelector, engine: Engine) -> list[Target]:
    listed = [each for each in await engine.containers(selector.labels) if matches(selector, each)]
    found = await asyncio.gather(*(_target(each, engine) for each in listed))
    return sorted((each for each in found if each), key=lambda each: (each.name, each.id))


def matches(selector: ContainerSelector, listed: Mapping[str, Any]) -> bool:
    """Whether a container as an engine lists it is meant by name, id and image; its labels were asked for."""
    by_name = not selector.names or bool(set(_names(listed)) & set(selector.names))
    by_id = not selector.ids or any(listed["Id"].startswith(each) for each in selector.ids)
    return by_name and by_id and selector.image in {None, listed.get("Image"), listed.get("ImageID")}


async def _target(listed: Mapping[str, Any], engine: Engine) -> Target | None:
    """The container with the time of its start; None if it has gone since it was listed."""
    try:
        state = (await engine.container(listed["Id"]))["State"]
    except NoAnswer:
        raise
    except Refused:
        return None
    name = next(iter(_names(listed)), listed["Id"][:12])
    return Target(listed["Id"], name, engine.name, str(state["StartedAt"])) if state["Running"] else None


def _missing(selector: ContainerSelector, found: Sequence[Target]) -> str:
    """What was named and is not there or not the only one, "" if nothing is missing."""
    if not found:
        return "no running container matches"
    for part in selector.ids:
        if len(several := [each.label for each in found if each.id.startswith(part)]) > 1:
            return f"the id {part!r} is the beginning of {len(several)} containers"
    absent = [name for name in selector.names if name not in {each.name for each in found}]
    absent += [part for part in selector.ids if not any(each.id.startswith(part) for each in found)]
    return f"no running container is {', '.join(absent[:5])}" if absent else ""


def _names(listed: Mapping[str, Any]) -> list[str]:
    return [name.removeprefix("/") for name in listed.get("Names") or []]
