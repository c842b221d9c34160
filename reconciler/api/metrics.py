"""Prometheus metrics of a controller, read from its files: the counts of rows, its heartbeat and its own counters.

`<state>/counters.json` is an object; a number `name` becomes `reconciler_<name>_total`, an object of numbers the same
with the label `kind`. What can also fall (`GAUGES`) is a gauge without the suffix.
"""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from reconciler.api.view import View
from state.errors import StateError
from state.reader import Reader

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


GAUGES = frozenset({"flying"})


class StateCollector(Collector):
    """Everything that is known, at the time of asking."""

    def __init__(self, view: View) -> None:
        self._view = view

    def collect(self) -> Iterator[Metric]:
        """The metrics now; `reconciler_state_readable` is 0 where the database cannot be read."""
        age = self._view.heartbeat_age()
        if age is not None:
            yield GaugeMetricFamily(
                "reconciler_heartbeat_age_seconds", "Seconds since the controller was heard of.", age
            )
        yield from counters(self._view.counters())
        try:
            yield from self._rows()
        except StateError:
            yield GaugeMetricFamily("reconciler_state_readable", "Whether the database can be read.", 0)

    def _rows(self) -> Iterator[Metric]:
        reader = self._view.reader
        tasks = GaugeMetricFamily("reconciler_tasks", "Tasks by namespace and state.", labels=["namespace", "state"])
        for (namespace, state), number in reader.counts().items():
            tasks.add_metric([namespace, state.value], number)
        definitions = GaugeMetricFamily(
            "reconciler_definitions", "Documents of the active revision.", labels=["kind", "accepted"]
        )
        for (kind, accepted), number in reader.definition_counts().items():
            definitions.add_metric([kind, str(accepted).lower()], number)
        yield from (tasks, definitions, *self._queue(reader))
        yield GaugeMetricFamily("reconciler_epoch", "Starts of a controller on this state.", reader.facts().epoch)
        yield GaugeMetricFamily(
            "reconciler_sequence", "The number of the last commit to the database.", self._view.sequence()
        )
        yield GaugeMetricFamily("reconciler_state_readable", "Whether the database can be read.", 1)

    def _queue(self, reader: Reader) -> Iterator[Metric]:
        queue = reader.queue(self._view.clock())
        attempts = GaugeMetricFamily("reconciler_attempts", "Unfinished attempts.", labels=["driver", "phase"])
        for (driver, phase), number in queue.attempts.items():
            attempts.add_metric([driver, phase.value], number)
        yield attempts
        yield GaugeMetricFamily("reconciler_wakes", "Tasks that wait for a time.", queue.waiting)
        yield GaugeMetricFamily("reconciler_wakes_overdue", "Tasks whose time has come and passed.", queue.overdue)


def counters(values: Mapping[str, object]) -> Iterator[Metric]:
    """What the controller counts itself; names and values that are none are left out."""
    for name, value in sorted(values.items()):
        if not name.isidentifier():
            continue
        plain = name.removesuffix("_total")
        if isinstance(value, int | float) and plain in GAUGES:
            yield GaugeMetricFamily(f"reconciler_{plain}", f"{plain}, as the controller says.", value)
        elif isinstance(value, int | float):
            yield CounterMetricFamily(f"reconciler_{plain}", f"{plain}, counted by the controller.", value)
        elif isinstance(value, dict):
            family = CounterMetricFamily(f"reconciler_{plain}", f"{plain}, counted by the controller.", labels=["kind"])
            for kind, number in sorted(value.items()):
                if isinstance(number, int | float):
                    family.add_metric([kind], number)
            yield family


def exposition(view: View) -> bytes:
    """The metrics in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StateCollector(view))
    return generate_latest(registry)
