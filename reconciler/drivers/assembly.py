"""The drivers of one controller, made as its settings say; none of them reaches anything before it is asked to."""

import os

from reconciler.drivers.container import ContainerDriver
from reconciler.drivers.engine import Address, Engine
from reconciler.drivers.http import HttpDriver
from reconciler.drivers.process import ProcessDriver
from reconciler.drivers.protocol import Driver
from reconciler.drivers.script import ScriptDriver
from reconciler.settings import ContainerSettings, HostSettings, Settings


def assembled(settings: Settings, controller: str) -> dict[str, Driver]:
    """Every driver by name. `controller` is the id of this controller for life: what it makes elsewhere carries it."""
    limits = settings.limits
    http = HttpDriver(
        loopback=settings.loopback,
        response_limit=limits.response,
        result_limit=limits.output,
        connect_timeout=settings.drivers.http.connect_timeout.total_seconds(),
    )
    process = ProcessDriver(settings.state / "processes", log_limit=limits.log, result_limit=limits.output)
    own = settings.drivers.script
    script = ScriptDriver(seconds=own.timeout.total_seconds(), memory=own.memory, result_limit=limits.output)
    container = ContainerDriver(
        _engines(settings.drivers.container), controller, log_limit=limits.log, result_limit=limits.output
    )
    return {"http": http, "process": process, "script": script, "container": container}


def _engines(settings: ContainerSettings) -> dict[str, Engine]:
    """The Docker engines by name; none is asked anything before it is needed."""
    address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    hosts = settings.hosts or {"local": HostSettings(address=address)}
    seconds = settings.timeout.total_seconds()
    return {
        name: Engine(name, Address(each.address, each.ca, each.certificate, each.key), seconds=seconds)
        for name, each in hosts.items()
    }
