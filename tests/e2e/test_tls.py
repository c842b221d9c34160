"""An engine behind TLS with certificates on both sides, and what is said of those that do not fit."""

import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.drivers.container import ContainerDriver
from reconciler.drivers.engine import Address, Engine
from reconciler.drivers.protocol import Ended, NotStarted, Observation
from tests.calls import answered, make_call
from tests.controllers import found, job, run_until_idle, task
from tests.e2e.test_commands import begin, call_in, settle
from tests.engines import definitions_in, socket_of

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made with openssl")

EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def authority(folder: Path, name: str) -> None:
    openssl(folder, "req", "-x509", *EC, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")


def signed(folder: Path, name: str, by: str, subject: str = "") -> None:
    """A certificate that `by` has signed; `subject` its alternative name."""
    openssl(folder, "req", *EC, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
    (folder / f"{name}.ext").write_text(f"subjectAltName={subject or 'DNS:client'}\n")
    by_words = ["-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-CAcreateserial", "-extfile", f"{name}.ext"]
    openssl(folder, "x509", "-req", "-in", f"{name}.csr", *by_words, "-days", "2", "-out", f"{name}.pem")


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("papers")
    authority(folder, "authority")
    authority(folder, "another")
    signed(folder, "server", "authority", "IP:127.0.0.1")
    signed(folder, "client", "authority")
    signed(folder, "stranger", "another")
    return folder


class Gate:
    """TLS in front of an engine's socket, for whoever shows a certificate of its authority."""

    def __init__(self, engine: str, papers: Path) -> None:
        self._engine = engine
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(papers / "server.pem", papers / "server.key")
        self._context.load_verify_locations(papers / "authority.pem")
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        threading.Thread(target=self._open, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()

    def _open(self) -> None:
        with suppress(OSError):
            while True:
                guest, _ = self._door.accept()
                threading.Thread(target=self._pass, args=(guest,), daemon=True).start()

    def _pass(self, guest: socket.socket) -> None:
        with (
            suppress(OSError),
            self._context.wrap_socket(guest, server_side=True) as near,
            socket.socket(socket.AF_UNIX) as far,
        ):
            far.connect(str(socket_of(self._engine)))
            back = threading.Thread(target=self._pump, args=(far, near), daemon=True)
            back.start()
            self._pump(near, far)
            back.join()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def gate(engine, papers):
    made = Gate(engine.address, papers)
    yield made
    made.close()


@pytest.fixture
def driver_with(engine, gate, papers):
    """A driver whose engine `here` is behind the gate."""

    def made(ca: str = "authority", certificate: str | None = "client", port: int = 0) -> ContainerDriver:
        own = (papers / f"{certificate}.pem", papers / f"{certificate}.key") if certificate else (None, None)
        address = Address(f"tcp://127.0.0.1:{port or gate.port}", papers / f"{ca}.pem", *own)
        engine.drivers.append(ContainerDriver({"here": Engine("here", address, seconds=5.0)}, engine.owner))
        return engine.drivers[-1]

    return made


async def test_commands_run_over_tls_with_their_secrets_and_stdin(engine, driver_with) -> None:
    driver = driver_with()
    quick = call_in(engine.target(), "sh", "-c", 'cat; echo "$1" | wc -c', "x", stdin="given", secrets=["c4nary"])
    slow = call_in(engine.target(), "sh", "-c", "echo begun; sleep 3; echo done")
    slow = replace(slow, name="rc-slow", key="u1/slow/-/1")

    first = await settle(driver, quick, await begin(driver, quick))
    second = await settle(driver, slow, await begin(driver, slow))

    assert isinstance(first, Ended) and first.succeeded and answered(first)["stdout"] == "given7\n"
    assert isinstance(second, Ended) and second.succeeded and answered(second)["stdout"] == "begun\ndone\n"


async def test_stdin_that_nobody_could_end_is_refused_before_anything_runs(engine, driver_with) -> None:
    driver = driver_with()
    call = call_in(engine.target(), "cat", stdin="given", receipt="never")

    seen = await begin(driver, call)

    assert isinstance(seen, Ended) and not seen.succeeded
    assert "over TLS" in seen.message


async def asked(driver: ContainerDriver, engine) -> Observation:
    call = make_call({"exec": ["true"], "in": {"labels": {"reconciler.test": engine.mark}}, "on": ["here"]})
    return await driver.start(call, None)


@pytest.mark.parametrize(
    ("papers_of", "said"),
    [
        ({"ca": "another"}, "has a certificate that is not accepted (setting `drivers.container.hosts.here.ca`)"),
        ({"certificate": "stranger"}, "our certificate (setting `drivers.container.hosts.here.certificate`)"),
        ({"certificate": None}, "our certificate (setting `drivers.container.hosts.here.certificate`)"),
        ({"ca": "nosuch"}, "(setting `drivers.container.hosts.here`): Invalid CA certificate"),
        ({"certificate": "nosuch"}, "(setting `drivers.container.hosts.here`): Path to a certificate and key files"),
    ],
)
async def test_a_certificate_that_does_not_fit_is_named_with_its_host_and_setting(
    engine, driver_with, papers_of, said
) -> None:
    seen = await asked(driver_with(**papers_of), engine)

    assert isinstance(seen, NotStarted) and seen.refused
    assert "the engine here at tcp://127.0.0.1:" in seen.proof
    assert said in seen.proof


async def test_an_engine_without_tls_is_not_taken_for_one(engine, driver_with) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:

        def answer() -> None:
            guest, _ = door.accept()
            guest.recv(100)
            guest.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            guest.close()

        threading.Thread(target=answer, daemon=True).start()
        seen = await asked(driver_with(port=door.getsockname()[1]), engine)

    assert isinstance(seen, NotStarted)
    assert "does not speak TLS" in seen.proof


def test_a_controller_reaches_the_host_of_its_settings_over_tls(engine, gate, papers, tmp_path) -> None:
    made = engine.container(labels={"app": engine.mark})
    certificates = {"ca": papers / "authority.pem", "certificate": papers / "client.pem", "key": papers / "client.key"}
    host = {"address": f"tcp://127.0.0.1:{gate.port}", **{name: str(file) for name, file in certificates.items()}}
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"drivers: {{container: {{hosts: {{far: {host}}}}}}}")
    block = f"container: {{exec: [hostname], in: {{labels: {{app: {engine.mark!r}}}}}, on: [far]}}"
    folder = definitions_in(tmp_path, job("ask", block), task("one", "job: ask"))

    ended = run_until_idle(f"dir:{folder}", tmp_path / "state", "--settings", str(settings))

    done = found(tmp_path / "state", "one")
    assert ended.process.returncode == 0, ended.text
    assert done is not None and isinstance(done.record.outputs, dict)
    results: Any = done.record.outputs["results"]
    (only,) = results
    assert (only["host"], only["id"], only["stdout"]) == ("far", made, f"{made[:12]}\n")
