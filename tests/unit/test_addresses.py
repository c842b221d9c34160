"""Every spelling of an address that nothing may call, and the ones that policy decides about."""

from ipaddress import ip_address

import pytest

from definitions.addresses import always_denied, forbidden, literal_address


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.169.254.",
        "2852039166",  # the same as one number
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "0xA9.0xfe.169.254",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::]",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[fd00:ec2::254]",
        "168.63.129.16",
        "192.0.0.192",
        "100.100.100.200",
        "0.0.0.0",
        "0",
        "[::]",
        "224.0.0.1",
        "255.255.255.255",
        "metadata.google.internal",
        "METADATA.google.internal.",
        "１６９.254.169.254",
        "169。254。169。254",
        "2130706433",
        "0x7f000001",
        "127.1",
        "0177.0.0.1",
        "[::ffff:127.0.0.1]",
        "999.1.1.1",
        "08.1.1.1",
        "1.2.3.4.5",
        "",
        "a b",
        "ok\\@169.254.169.254",
        "user@host",
        "exa%6dple.com",
        "evil\u200b.com",
        "[nonsense]:",
        ":::",
    ],
)
def test_a_host_that_is_never_called_is_refused_with_a_reason(host: str) -> None:
    assert forbidden(host)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "::1",
        "10.1.2.3",
        "example.com",
        "api-1.team.svc",
        "8.8.8.8",
        "münchen.de",
        "x",
    ],
)
def test_a_host_that_policy_may_allow_passes(host: str) -> None:
    assert forbidden(host) is None


@pytest.mark.parametrize(
    "text", ["64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::ffff:168.63.129.16", "fe80::1", "ff02::1"]
)
def test_what_a_name_resolves_to_is_judged_by_what_it_carries(text: str) -> None:
    assert always_denied(ip_address(text))


@pytest.mark.parametrize("text", ["127.0.0.1", "::1", "10.0.0.1", "2606:4700::1111"])
def test_an_ordinary_address_is_left_to_policy(text: str) -> None:
    assert always_denied(ip_address(text)) is None


def test_odd_spellings_are_read_as_the_resolver_reads_them() -> None:
    for text in ("2130706433", "0x7f.1", "127.1", "0177.0.0.1", "0x7f000001"):
        assert str(literal_address(text)) == "127.0.0.1"
    assert literal_address("example.com") is None
