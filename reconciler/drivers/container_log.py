"""Output of containers on its way to a log: secrets taken out over the borders of looks, and how far it has come.

The engine or the receipt keeps the output, so a place in it is all that has to outlive a controller; it travels in the
handle. Bytes that may be the beginning of a secret are not passed yet, and not counted as copied.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from definitions.values import Json
from reconciler.drivers.container_pace import Pace
from reconciler.drivers.listening import Speech
from reconciler.drivers.protocol import LogSink
from reconciler.drivers.receipt import Report
from reconciler.secrets.redaction import RedactedStream, Redactor

STREAMS = ("stdout", "stderr")
KEPT = 256 << 10


@dataclass(slots=True)
class Copy:
    """How far the output of one call has come into its log. `heads` and `ends`: its first and last bytes, redacted.

    `pace`: when more of it is worth a look.
    """

    log: LogSink
    redactor: Redactor
    places: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STREAMS, 0))
    heads: dict[str, bytearray] = field(default_factory=lambda: {name: bytearray() for name in STREAMS})
    ends: dict[str, bytearray] = field(default_factory=lambda: {name: bytearray() for name in STREAMS})
    since: str = "0"  # of an engine's log: the time of its last entry that was copied
    count: int = 0  # how many entries of that time were
    late: bool = False  # the beginning went to an earlier controller
    waits: bool = False  # for an engine, and the log says so
    pace: Pace = field(default_factory=Pace)
    speech: Speech | None = None  # what its execution says, where that is still heard
    _streams: dict[str, RedactedStream] = field(default_factory=dict)

    @property
    def copied(self) -> dict[str, Json]:
        """Where a later controller goes on, for the handle."""
        return {
            each: self.places[each] - self._streams[each].held if each in self._streams else self.places[each]
            for each in STREAMS
        }

    def go_on(self, handle: Mapping[str, Json]) -> None:
        """From where an earlier controller was, as its handle says."""
        for stream in STREAMS:
            place = handle.get(stream)
            self.places[stream] = place if isinstance(place, int) else 0
        self.since, count = str(handle.get("since", "0")), handle.get("count")
        self.count = count if isinstance(count, int) else 0
        self.late = any(self.places.values()) or self.count > 0

    def remember(self, other: "Copy") -> None:
        """The first and last bytes, as another one has read them from the beginning."""
        other.finish()
        self.heads, self.ends, self.late = other.heads, other.ends, False

    def take(self, data: bytes, stream: str) -> None:
        """The next bytes of a stream."""
        guard = self._streams.setdefault(stream, RedactedStream(self.redactor))
        self.places[stream] += len(data)
        self._pass(guard.take(data), stream)

    def report(self, report: Report, asked: Mapping[str, int]) -> bool:
        """What a receipt brought, which was asked for from `asked` on; whether that was all there is now."""
        for stream in STREAMS:
            part = report.parts[stream][max(0, self.places[stream] - asked[stream]) :]
            gap = report.sizes[stream] - self.places[stream]
            if report.tails[stream] and 0 <= gap < len(part):
                self.take(part[:gap], stream)
                self.line(f"[{stream}: what was more than {report.sizes[stream]} bytes was dropped, but for its end]")
                part = part[gap:]
            self.take(part, stream)
        return all(self.places[each] >= report.sizes[each] + report.tails[each] for each in STREAMS)

    def entries(self, entries: Iterable[tuple[str, str, bytes]]) -> int:
        """(time, stream, bytes) of an engine's log from `since` on; how many were new."""
        known, fresh = self.count, 0
        for stamp, stream, data in entries:
            if stamp == self.since and known > 0:
                known -= 1
                continue
            self.count = self.count + 1 if stamp == self.since else 1
            self.since, known, fresh = stamp, 0, fresh + 1
            self.take(data, stream)
        return fresh

    def line(self, text: str) -> None:
        """A line of the driver itself."""
        self.log.write(self.redactor.text(text).encode(errors="replace") + b"\n", "driver")

    def hush(self) -> None:
        """Its execution is not listened to any more."""
        if self.speech:
            self.speech.close()
        self.speech = None

    def finish(self) -> None:
        """Pass on what was held back, as nothing more comes."""
        for stream, guard in self._streams.items():
            self._pass(guard.finish(), stream)

    def _pass(self, shown: bytes, stream: str) -> None:
        if not shown:
            return
        self.log.write(shown, stream)
        head, end = self.heads[stream], self.ends[stream]
        head += shown[: max(0, KEPT - len(head))]
        end += shown[-4096:]
        del end[:-4096]


class Silence:
    """A LogSink for what the log has already."""

    def write(self, data: bytes, stream: str = "stdout") -> None:
        """Nothing."""
