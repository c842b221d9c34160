"""One reading of a URL: what it says, and what is not read at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.urls import read_url


@pytest.mark.parametrize(
    ("text", "host", "port", "target"),
    [
        ("http://a", "a", 80, "/"),
        ("HTTPS://A.b:8443/x?y=1#z", "a.b", 8443, "/x?y=1"),
        ("http://a?x=1", "a", 80, "/?x=1"),
        ("http://[2001:DB8::1]:81/", "2001:db8::1", 81, "/"),
        ("http://a/上 线?q=%20é", "a", 80, "/%E4%B8%8A%20%E7%BA%BF?q=%20%C3%A9"),
        ("http://a/x\r\ny", "a", 80, "/x%0D%0Ay"),
        ("http://a/\\@b", "a", 80, "/%5C@b"),
        ("http://a/x@b:c", "a", 80, "/x@b:c"),
    ],
)
def test_a_url_is_read_in_parts(text, host, port, target) -> None:
    url = read_url(text)

    assert (url.host, url.port, url.target) == (host, port, target)


def test_a_url_is_moved_to_an_address_and_keeps_its_authority() -> None:
    url = read_url("http://name:81/x")

    assert url.authority == "name:81"
    assert url.at("::1") == "http://[::1]:81/x"
    assert str(read_url("https://name:443/")) == "https://name/"


@pytest.mark.parametrize(
    "text",
    ["", "a", "//a", "ftp://a", "file:///x", "http://", "http:///x", "http://:80/", "http://u@a/", "http://a:b@c/",
     "http://a:0/", "http://a:70000/", "http://a:8o/", "http://[::1/", "http://[::1]x/", "http://a b/", "http://a\\b/",
     "http://a\tb/", "http://169.254.169.254/", "javascript://a", "http://ok\\@b/"],
)  # fmt: skip
def test_what_is_no_plain_url_is_refused(text) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_url(text)


@given(text=st.text(max_size=40).map(lambda tail: f"http://{tail}"))
def test_whatever_is_read_is_plain_ascii_without_control_characters(text) -> None:
    try:
        url = read_url(text)
    except ValueError:
        return

    assert str(url).isascii() and str(url).isprintable() and " " not in str(url)
    assert not set(url.host) & set("@/?#\\")
