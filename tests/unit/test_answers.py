"""The bytes of an answer: compact JSON of whatever the rows hold, with a tag that follows them."""

import json
from typing import Any

import pytest

from reconciler.api.answers import encode

DOCUMENT: dict[str, Any] = {
    "名": ["上线", '\x00\x1f\x7f"\\/\u2028'],
    "none": None,
    "yes": True,
    "deep": [{"a": []}, {}],
    "int": 2**70,
}


def test_an_answer_is_compact_json_in_utf_8():
    assert encode(DOCUMENT).body == json.dumps(DOCUMENT, ensure_ascii=False, separators=(",", ":")).encode()


@pytest.mark.parametrize("number", [0.1, 1e-5, 1e-7, 5e-324, 1e16, 1.5e300, -0.0, 2.0, 123456789012345678.0])
def test_a_number_is_read_back_as_it_was(number):
    found = json.loads(encode([number]).body)[0]

    assert (found, type(found)) == (number, float)


def test_what_utf_8_or_json_do_not_have_is_replaced_and_breaks_no_answer():
    value = {"half \ud800": ["\udc80", ("kept", float("nan"), float("inf"))], "whole": "上线"}

    assert json.loads(encode(value).body) == {"half ?": ["?", ["kept", None, None]], "whole": "上线"}


def test_the_tag_follows_the_bytes():
    assert encode(DOCUMENT).tag == encode(dict(DOCUMENT)).tag != encode({**DOCUMENT, "none": 0}).tag
