"""What is heard of an execution whose connection is watched by the event loop; a pair of sockets plays its engine."""

import asyncio
import socket

import pytest

from reconciler.drivers.listening import Speech


def frame(stream: int, data: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


@pytest.fixture
def ends():
    here, there = socket.socketpair()
    yield here, there
    here.close()
    there.close()


async def test_all_that_is_said_until_the_end_is_heard_also_what_came_with_the_head(ends) -> None:
    here, there = ends
    whole = frame(1, b"out") + frame(2, b"err") + frame(1, b"put")
    speech = Speech(here, whole[:5], 1000, here.close)
    there.sendall(whole[5:])
    there.close()

    await speech.hear(5.0)

    assert speech.over and speech.whole
    assert {name: bytes(data) for name, data in speech.said.items()} == {"stdout": b"output", "stderr": b"err"}


async def test_who_goes_on_after_a_while_is_heard_without_being_waited_for(ends) -> None:
    here, there = ends
    speech = Speech(here, b"", 1000, here.close)
    await speech.hear(0.05)
    early = speech.over
    there.sendall(frame(1, b"late"))
    there.close()

    async with asyncio.timeout(5):
        while not speech.over:
            await asyncio.sleep(0.01)

    assert not early
    assert speech.whole and speech.said["stdout"] == b"late"


async def test_who_says_too_much_is_not_heard_any_more(ends) -> None:
    here, there = ends
    speech = Speech(here, b"", 10, here.close)
    there.sendall(frame(1, b"x" * 11))

    await speech.hear(5.0)

    assert speech.over and not speech.whole
    assert here.fileno() == -1


async def test_letting_go_ends_nothing_and_can_be_repeated(ends) -> None:
    here, there = ends
    speech = Speech(here, b"", 10, here.close)
    await speech.hear(0.0)

    speech.close()
    speech.close()

    assert speech.over and not speech.whole
    assert there.recv(1) == b""
