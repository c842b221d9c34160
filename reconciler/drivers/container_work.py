"""One call in a running container while the driver works on it, and whether that container can keep a receipt of it."""

from dataclasses import dataclass

from definitions.requests import Container
from reconciler.drivers import receipt
from reconciler.drivers.container_log import Copy
from reconciler.drivers.container_request import Target, Words, read_words
from reconciler.drivers.engine import Engine
from reconciler.drivers.protocol import Call
from reconciler.drivers.receipt import words
from state.records import Json


@dataclass(slots=True)
class Work:
    """One call in its container, while the driver works on it."""

    call: Call
    block: Container
    target: Target
    engine: Engine
    owner: str
    copy: Copy

    @property
    def words(self) -> Words:
        """The command, and which of its words are secret."""
        return read_words(self.block, self.call.secret_references)

    @property
    def stdin(self) -> bytes:
        """What the command is given to read."""
        return str(self.block.stdin).encode() if self.block.stdin is not None else b""

    @property
    def stem(self) -> str:
        """What the receipts of all calls of the attempt begin with."""
        return f".{self.call.name}-{self.owner}"

    @property
    def receipt(self) -> str:
        """The name of this call's receipt."""
        return f"{self.stem}.{self.call.number}"


@dataclass(frozen=True, slots=True)
class Keeping:
    """Whether a container can keep receipts, and if, whether in a folder that outlives its restart; `why` it cannot."""

    able: bool
    lasting: bool = False
    why: str = ""


class Keepings:
    """What is known of containers and users; found out once for each life of this driver."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Keeping] = {}

    async def of(self, work: Work) -> Keeping:
        """Whether this container can keep a receipt of what this user does; found out once for each life of it."""
        if work.block.receipt == "never":
            return Keeping(able=False, why="`receipt: never`")
        key = (work.target.id, work.block.user or "")
        if key not in self._known:
            options = {"User": work.block.user} if work.block.user else {}
            made = await work.engine.execution(work.target.id, words(receipt.ABLE, f"{work.receipt}.able"), options)
            said = (await work.engine.run(made)).stdout.split()
            able = said[:1] == [b"able"]
            lasting = able and said[1].decode(errors="replace") in receipt.LASTING
            why = "" if able else "it has no shell with the usual tools, or no folder that can be written"
            self._known[key] = Keeping(able, lasting, why)
        return self._known[key]


def read_handle(handle: Json) -> dict[str, Json] | None:
    """The handle of an execution; None where there is none."""
    return handle if isinstance(handle, dict) and "exec" in handle else None
