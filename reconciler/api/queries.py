"""What may stand behind the `?` of each route; anything else is refused by name."""

from typing import Annotated, Literal

from fastapi import Path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from reconciler.api.models import StateName

Limit = Annotated[int, Field(ge=1, le=500, description="how many items at the most")]
Cursor = Annotated[str | None, Field(max_length=4096, description="`next` of the page before")]
Run = Annotated[int | None, Field(ge=1, le=2**31, description="which run; without it the latest")]


Number = Annotated[int, Path(ge=1, le=2**31, description="which attempt, counted from 1")]


def _label(value: str) -> str:
    key, equals, _ = value.partition("=")
    if not key or not equals:
        raise ValueError("a label filter is written key=value")
    return value


class Strict(BaseModel):
    """No parameter that is not named here."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoQuery(Strict):
    """A route without parameters."""


class PageQuery(Strict):
    """A page of a list."""

    limit: Limit = 50
    cursor: Cursor = None


class TasksQuery(PageQuery):
    """Which tasks."""

    namespace: str | None = None
    state: StateName | None = None
    label: Annotated[list[Annotated[str, AfterValidator(_label)]], Field(description="key=value; all must match")] = []
    workflow: Annotated[str | None, Field(description="name of the workflow or job that the task runs")] = None
    sort: Literal["created", "due"] = "created"


class DefinitionsQuery(PageQuery):
    """Which definitions."""

    kind: Literal["Job", "Workflow", "Task", "Trigger"] | None = None
    namespace: str | None = None
    accepted: bool | None = None


class TriggersQuery(PageQuery):
    """Which triggers."""

    namespace: str | None = None


class RunQuery(Strict):
    """Which run of a task."""

    run: Run = None


class RunPageQuery(PageQuery):
    """A page about one run of a task."""

    run: Run = None


class EventsQuery(PageQuery):
    """Which events; `follow` (or `Accept: text/event-stream`) keeps the answer open."""

    after: Annotated[int | None, Field(ge=0, le=2**62, description="only events with a higher sequence")] = None
    follow: bool = False


class LogQuery(Strict):
    """Which part of which log. Without `step` the attempt that began last, without `attempt` the step's latest."""

    run: Run = None
    step: Annotated[str | None, Field(max_length=1024)] = None
    attempt: Annotated[int | None, Field(ge=1, le=2**31)] = None
    offset: Annotated[int | None, Field(ge=0, le=2**62, description="first byte")] = None
    limit: Annotated[int | None, Field(ge=1, le=2**31, description="bytes at the most")] = None
    tail: Annotated[int | None, Field(ge=1, le=10_000, description="only the last lines, this many")] = None
    follow: bool = False
