"""Secrets: found by reference, and without a trace in what is kept."""

import base64
import json
from itertools import pairwise
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.drivers.request import GuardedLog, redacted
from reconciler.secrets.env import EnvSecrets
from reconciler.secrets.file import MAX_BYTES, FileSecrets
from reconciler.secrets.forms import forms
from reconciler.secrets.provider import SecretChain, SecretUnavailable
from reconciler.secrets.redaction import RedactedStream, Redactor
from tests.calls import FixedSecrets, Log

SECRET = 'c4nary/s3cret "value"+é'


def test_the_environment_names_a_secret_in_capitals() -> None:
    secrets = EnvSecrets({"RECONCILER_SECRET_DB_PASSWORD": "one", "RECONCILER_SECRET_A_B_C_D": "two"})

    assert secrets.get("db/password") == "one"
    assert secrets.get("a/b-c.d") == "two"
    assert secrets.get("db/other") is None


def test_a_file_gives_its_text_without_one_newline(tmp_path) -> None:
    (tmp_path / "db").mkdir()
    (tmp_path / "db/password").write_text("one\n\n")
    (tmp_path / "db/windows").write_bytes(b"one\r\n")

    assert FileSecrets(tmp_path).get("db/password") == "one\n"
    assert FileSecrets(tmp_path).get("db/windows") == "one"
    assert FileSecrets(tmp_path).get("db/absent") is None
    assert FileSecrets(tmp_path).get("db") is None


def test_a_link_within_the_folder_is_followed_as_mounted_secrets_need_it(tmp_path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data/password").write_text("one")
    (tmp_path / "password").symlink_to("..data/password")

    assert FileSecrets(tmp_path).get("password") == "one"


@pytest.mark.parametrize("reference", ["../outside", "a/../../outside", "/etc/passwd", "./a", "a//b", "", "a\0b"])
def test_a_reference_cannot_leave_the_folder(tmp_path, reference) -> None:
    (tmp_path / "outside").write_text("no")

    with pytest.raises(SecretUnavailable):
        FileSecrets(tmp_path / "secrets").get(reference)


def test_a_link_out_of_the_folder_is_refused(tmp_path) -> None:
    (tmp_path / "outside").write_text("value-outside")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/a").symlink_to(tmp_path / "outside")
    (tmp_path / "secrets/loop").symlink_to("loop")

    with pytest.raises(SecretUnavailable, match="leaves") as caught:
        FileSecrets(tmp_path / "secrets").get("a")
    assert "value-outside" not in str(caught.value)
    assert FileSecrets(tmp_path / "secrets").get("loop") is None


def test_a_secret_that_is_too_large_or_no_text_is_refused_without_its_bytes(tmp_path) -> None:
    (tmp_path / "large").write_bytes(b"v" * (MAX_BYTES + 1))
    (tmp_path / "binary").write_bytes(b"s3cret\xff")

    for name in ("large", "binary"):
        with pytest.raises(SecretUnavailable) as caught:
            FileSecrets(tmp_path).get(name)
        assert "s3cret" not in str(caught.value) and caught.value.__cause__ is None


def test_the_first_provider_that_has_a_value_wins(tmp_path) -> None:
    chain = SecretChain([FixedSecrets({"a/b": "first"}), FixedSecrets({"a/b": "second", "c/d": "third"})])

    assert chain.resolve("a/b") == "first"
    assert chain.resolve("c/d") == "third"


def test_a_secret_that_nobody_has_says_where_it_was_looked_for(tmp_path) -> None:
    chain = SecretChain([EnvSecrets({}), FileSecrets(tmp_path)])

    with pytest.raises(SecretUnavailable) as caught:
        chain.resolve("db/password")

    assert "RECONCILER_SECRET_DB_PASSWORD" in str(caught.value)
    assert "secrets.folder" in str(caught.value)


def test_lengths_are_known_of_those_that_can_be_read() -> None:
    chain = SecretChain([FixedSecrets({"a/b": "four", "c/d": "ü"})])

    assert chain.lengths(["a/b", "c/d", "e/f", "a/b"]) == {"a/b": 4, "c/d": 1}


@pytest.mark.parametrize(
    "shown",
    [
        SECRET,
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        base64.b64encode(b"user:" + SECRET.encode() + b"\n").decode(),
        base64.b64encode(b"x:" + SECRET.encode() + b"!!").decode(),
    ],
)
def test_every_usual_form_of_a_secret_becomes_stars(shown) -> None:
    cleaned = Redactor(forms([SECRET])).text(f"before {shown} after")

    assert "***" in cleaned
    assert cleaned.startswith("before ") and cleaned.endswith(" after")
    for piece in (SECRET[:8], "s3cret", "YzRuYXJ5L3MzY3"):
        assert piece not in cleaned


def test_each_line_of_a_key_is_a_secret() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----"

    cleaned = Redactor(forms([key])).text("log: MIIEvQIBADANBgkq\nlog: hkiG9w0BAQEFAASC\n")

    assert cleaned == "log: ***\nlog: ***\n"


@given(
    secrets=st.lists(st.text(alphabet="ab", min_size=1, max_size=6), min_size=1, max_size=3),
    text=st.text(alphabet="abc", max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=8),
)
def test_chunks_are_cleaned_like_the_whole_wherever_they_are_cut(secrets, text, cuts) -> None:
    redactor = Redactor([secret.encode() for secret in secrets])
    stream, data = RedactedStream(redactor), text.encode()
    borders = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]

    shown = b"".join(stream.take(data[start:end]) for start, end in pairwise(borders)) + stream.finish()

    assert shown == redactor.clean(data)


@given(chunks=st.lists(st.binary(max_size=20), max_size=10))
def test_without_secrets_nothing_changes_and_nothing_waits(chunks) -> None:
    stream = RedactedStream(Redactor([]))

    assert [stream.take(chunk) for chunk in chunks] == chunks
    assert stream.finish() == b""


def test_a_guarded_log_lets_nothing_through_over_the_border_of_two_writes() -> None:
    log = Log()
    guarded = GuardedLog(log, Redactor(forms([SECRET])))

    for index in range(0, len(SECRET), 3):
        guarded.write(SECRET[index : index + 3].encode(), "stdout")
        guarded.write(b".", "stderr")
    guarded.line(f"sent {SECRET}")
    guarded.close()

    assert log.text("stdout") == "***"
    assert log.text("driver") == "sent ***\n"
    assert set(log.text("stderr")) == {"."}


def test_a_json_value_is_cleaned_in_texts_keys_and_numbers() -> None:
    redactor = Redactor(forms(["12345678"]))

    cleaned = redacted({"a": ["x12345678y", 12345678, 1.5, True, None], "12345678": 5}, redactor)

    assert cleaned == {"a": ["x***y", "***", 1.5, True, None], "***": 5}
