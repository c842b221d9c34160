"""The http driver over TLS: a name that the certificate carries is called, any other is proof that nothing was sent."""

import shutil
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from reconciler.drivers.http import HttpDriver
from reconciler.drivers.protocol import Ended, NotStarted
from tests.calls import make_call

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="a certificate is made with openssl")


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"hello": true}')

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    words += ["-subj", "/CN=hello.test", "-addext", "subjectAltName=DNS:hello.test"]
    subprocess.run(
        ["openssl", *words, "-keyout", "key.pem", "-out", "cert.pem"], cwd=folder, check=True, capture_output=True
    )
    return folder


@pytest.fixture
def server(certificate):
    made = HTTPServer(("127.0.0.1", 0), Hello)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    made.socket = context.wrap_socket(made.socket, server_side=True)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
async def driver(certificate):
    context = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    made = HttpDriver(context=context, lookup=lambda _host, _port: ["127.0.0.1"])
    yield made
    await made.close()


async def test_the_certificate_is_for_the_name_in_the_url_not_for_its_address(server, driver) -> None:
    call = make_call({"url": f"https://hello.test:{server.server_port}/"}, uses_result=True)

    ended = await driver.start(call, None)

    assert isinstance(ended, Ended) and ended.succeeded, ended
    assert ended.result == {"hello": True}


async def test_a_certificate_for_another_name_is_proof_that_nothing_was_sent(server, driver) -> None:
    seen = await driver.start(make_call({"url": f"https://other.test:{server.server_port}/"}), None)

    assert isinstance(seen, NotStarted) and seen.refused
    assert "certificate" in seen.proof.lower()
