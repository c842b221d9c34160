"""What a command gives as its result: its exit code, what it wrote, and the JSON that it wrote if it did."""

from definitions.values import Json
from reconciler.drivers.answer import BadAnswer, brief, check, parse, text


def command_result(code: int, stdout: bytes, stderr: bytes, limit: int) -> tuple[dict[str, Json], str]:
    """`{exitCode, stdout, stderr, json}` within `limit` bytes as JSON, and what is wrong with its JSON ("": nothing).

    `stdout` holds more than `limit` bytes if there was more of it.
    """
    value, flaw = _json(stdout, limit)
    room = limit * 3 // 4
    while True:
        result: dict[str, Json] = {
            "exitCode": code,
            "stdout": text(stdout[:room], room),
            "stderr": text(stderr[: room // 8], room // 8),
            "json": value,
        }
        try:
            check(result, limit)
        except BadAnswer as error:
            if not room:
                return {"exitCode": code, "stdout": "", "stderr": "", "json": None}, flaw or str(error)
            room //= 2
        else:
            return result, flaw


def last_line(stderr: bytes, stdout: bytes) -> str:
    """The last line of stderr, or else of stdout, for a message."""
    for data in (stderr, stdout):
        if lines := data.decode(errors="replace").strip().splitlines():
            return brief(lines[-1])
    return ""


def _json(data: bytes, limit: int) -> tuple[Json, str]:
    """The JSON that stdout is, if it is, and the flaw of what looks like JSON but cannot be used."""
    try:
        if len(data) > limit:
            raise BadAnswer(f"OutputTooLarge: stdout is larger than {limit} bytes (setting `limits.output`)")
        return parse(data, limit), ""
    except BadAnswer as error:
        looks_like_json = data.lstrip()[:1] in {b"{", b"["} and not str(error).startswith("NotJson")
        return None, str(error) if looks_like_json else ""
