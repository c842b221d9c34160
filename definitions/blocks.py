"""What a driver block may hold: secrets as references only, no value inside a shell's program, no forbidden host.

These are properties of the text, whatever an operator's policy allows, so a pull request shows them long before a
driver would refuse. A script's body is code: what it reads by name becomes data of its request.
"""

import ast
import re
import shlex
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from definitions.addresses import forbidden
from definitions.documents import Path
from definitions.findings import Report, listing
from definitions.models import Model, SecretReference
from definitions.scopes import ANSWER, Site, code_reads
from definitions.values import Json

HIDDEN = "***"
"""What stands in a request where a secret goes."""

_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ash", "ksh", "fish", "su", "runuser"})
_SHELL_OPTION = re.compile(r"-[A-Za-z]*c|--command")
_PLACEHOLDER = re.compile(r"\$\{\{.*?\}\}", re.DOTALL)
_SECRET = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_UNFIT = re.compile(r"[\x01-\x20\x7f]")
_GAP = "\0"  # stands for a `${{ }}`, and is in no document
_MAX_BODY_DEPTH = 100
_INDENTED = re.compile(r"(?:[ \t]*(?:#.*)?\n)*[ \t]+[^\s#]")
_NOT_IN_BODIES: Mapping[type[ast.AST], str] = {
    ast.Yield: "yield",
    ast.YieldFrom: "yield",
    ast.Delete: "del",
    ast.TryStar: "except*",
    ast.AsyncFunctionDef: "async",
    ast.AsyncFor: "async",
    ast.AsyncWith: "async",
    ast.Await: "await",
}


class BodyError(ValueError):
    """A script's body that is not code, or not code for the sandbox; line and column count from 1."""

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(f"line {line}, column {column} of the body: {message}")


def block_value(block: Model) -> dict[str, Any]:
    """A driver block as JSON, with what the file says and nothing else, named as in the file."""
    dumped: dict[str, Any] = block.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return dumped


def hide_secrets(value: Json, site: Site) -> tuple[Json, dict[str, str]]:
    """`value` with `***` where a secret reference stands, and the references by JSON pointer."""
    references: dict[str, str] = {}
    return _hidden(value, (), site, references), references


def refuse_secrets(value: Json, path: Path, report: Report) -> bool:
    """Report every secret reference in `value`, whether there is one: outside a driver block it would become data."""
    places = list(_references(value, path))
    for place in places:
        report.add(place, "E-SECRET", "a secret can only be used inside a driver block, where it never becomes data")
    return bool(places)


def check_block(driver: str, value: Mapping[str, Any], site: Site) -> None:
    """Report what the block of `driver` must not say, whoever allows what."""
    check = _CHECKS.get(driver)
    if check is not None:
        check(value, site)


def _hidden(value: Json, path: Path, site: Site, references: dict[str, str]) -> Json:
    if isinstance(value, list):
        return [_hidden(each, (*path, index), site, references) for index, each in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if not _is_reference(value):
        return {key: _hidden(each, (*path, key), site, references) for key, each in value.items()}
    reference = value["secret"]
    if isinstance(reference, str) and _SECRET.fullmatch(reference) and len(reference) <= 255:
        references[_pointer(path)] = reference
    else:
        site.report.add((*site.path, *path), "E-SECRET", "a secret is named by fixed text: provider-path/key")
    return HIDDEN


def _is_reference(value: Mapping[str, Json] | SecretReference) -> bool:
    return isinstance(value, dict) and len(value) == 1 and "secret" in value


def _references(value: Json, path: Path) -> Iterator[Path]:
    if isinstance(value, dict):
        if _is_reference(value) and isinstance(value["secret"], str):
            yield path
        else:
            for key, each in value.items():
                yield from _references(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _references(each, (*path, index))


def _pointer(path: Path) -> str:
    return "".join(f"/{str(key).replace('~', '~0').replace('/', '~1')}" for key in path)


def _check_http(value: Mapping[str, Any], site: Site) -> None:
    for keys in (("url",), ("verify", "url"), ("cancel", "url")):
        url = _dig(value, keys)
        if isinstance(url, str) and (reason := url_objection(url)) is not None:
            site.report.add((*site.path, *keys), "E-HTTP-HOST", reason)
    _check_bodies(value, site)
    _check_headers(value.get("headers"), site.at("headers"))
    answer = site.within(ANSWER)
    for keys in (("alreadyExists",), ("verify", "found"), ("verify", "result")):
        text = _dig(value, keys)
        if isinstance(text, str):
            _check_answer_expression(text, answer.at(*keys))


def _check_bodies(value: Mapping[str, Any], site: Site) -> None:
    given = [key for key in ("json", "form", "body") if value.get(key) is not None]
    if len(given) > 1:
        message = f"a call has one body; this one has {listing(given)}"
        site.report.add((*site.path, given[1]), "E-FIELD", message, on_key=True)


def _check_headers(headers: object, site: Site) -> None:
    """Report names and fixed parts of values that the driver would refuse."""
    for name, text in headers.items() if isinstance(headers, dict) else ():
        if "${{" not in name and not _TOKEN.fullmatch(name):
            site.report.add((*site.path, name), "E-FIELD", f"{name[:60]!r} is not the name of a header", on_key=True)
        elif isinstance(text, str) and _CONTROL.search(_PLACEHOLDER.sub("", text)):
            site.report.add((*site.path, name), "E-FIELD", f"the header {name[:60]} holds a control character")


def _check_answer_expression(text: str, site: Site) -> None:
    """The driver reads these over the answer alone; a value spliced into one would be code."""
    if "${{" in text:
        site.report.add(site.path, "E-EXPR-SYNTAX", "this is an expression already; write it without ${{ }}")
    else:
        site.expression(text)


def url_objection(url: str) -> str | None:
    """Why the fixed part of `url` is refused; None if it is usable or only known when it is called."""
    marked = _PLACEHOLDER.sub(_GAP, url)
    head, colon, rest = marked.partition(":")
    if _GAP in head:
        return None  # even the scheme is known only when it is called
    if not colon or not _SCHEME.fullmatch(head):
        return "a URL begins with http:// or https://"
    if head.lower() not in ("http", "https"):
        return f"the scheme {head[:20]}: is refused; only http and https are called"
    if _UNFIT.search(rest):
        return "it holds a space or a control character; write %20 for a space"
    if not rest.startswith("//"):
        return f"write {head}:// before the host"
    return _authority_objection(re.split(r"[/?#]", rest[2:], maxsplit=1)[0])


def _authority_objection(authority: str) -> str | None:
    if "@" in authority:
        return "user names and passwords in a URL are refused; use a header with a secret"
    if "\\" in authority:
        return "a backslash in the host is refused: programs read it differently"
    bracketed = re.fullmatch(r"(\[[^\]]*\])(:.*)?", authority)
    host, port = (bracketed[1], bracketed[2] or "") if bracketed else _split_port(authority)
    if _GAP in host:
        return None
    if _GAP not in port and not re.fullmatch(r"(:[0-9]{0,5})?", port):
        return f"{port[1:21]!r} is no port"
    if port[1:].isdigit() and not 1 <= int(port[1:]) <= 65_535:
        return f"{port[1:]} is no port; they are 1 to 65535"
    reason = forbidden(host)
    return f"the host {host[:80]!r} is refused: {reason}" if reason else None


def _split_port(authority: str) -> tuple[str, str]:
    host, colon, port = authority.partition(":")
    return host, colon + port


def _check_process(value: Mapping[str, Any], site: Site) -> None:
    _check_command(site, [("command",)], value)


def _check_container(value: Mapping[str, Any], site: Site) -> None:
    _check_command(site, [("exec",), ("args",)], value)
    _check_command(site, [("run", "command")], value)


def _check_kubernetes(value: Mapping[str, Any], site: Site) -> None:
    _check_command(site, [("exec", "command")], value)
    _check_command(site, [("job", "command"), ("job", "args")], value)


_CHECKS = {
    "http": _check_http,
    "process": _check_process,
    "container": _check_container,
    "kubernetes": _check_kubernetes,
}


def _check_command(site: Site, places: list[tuple[str, ...]], value: Mapping[str, Any]) -> None:
    """Report arguments with `${{ }}` that a shell would read as its program."""
    words = [word for keys in places for word in _words(_dig(value, keys), (*site.path, *keys))]
    shell = next((index for index, (_, word) in enumerate(words) if word.rpartition("/")[2] in _SHELLS), None)
    if shell is None:
        return
    if (path := _program(words[shell + 1 :])) is not None:
        message = 'a value inside a shell\'s program would be run; pass it as an argument after it and read "$1"'
        site.report.add(path, "E-SHELL-INTERPOLATION", message)


def _program(words: list[tuple[Path, str]]) -> Path | None:
    """Where a program with `${{ }}` in it is handed to a shell."""
    for index, (path, option) in enumerate(words):
        if option.startswith("--command=") and "${{" in option:
            return path
        following = words[index + 1 : index + 2]
        if _SHELL_OPTION.fullmatch(option) and any("${{" in program for _, program in following):
            return following[0][0]
    return None


def _words(command: object, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(command, str):
        yield from ((path, word) for word in _split(command))
    elif isinstance(command, list):
        yield from (((*path, index), word) for index, word in enumerate(command) if isinstance(word, str))


def _split(command: str) -> list[str]:
    """The words of a command written as one text; a `${{ }}` stays in the word that it stands in."""
    marked = _PLACEHOLDER.sub("${{}}", command)
    try:
        return shlex.split(marked)
    except ValueError:
        return marked.split()


def _dig(value: object, keys: Path) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def script_request(value: Mapping[str, Any], site: Site) -> dict[str, Json]:
    """The block as a request: the body and, as `inputs`, the data that it reads by name, in the shape it reads them.

    What is wrong with the body is reported with the line and column in it.
    """
    body, place = value["body"], site.at("body")
    request: dict[str, Json] = {"body": "", "inputs": {}}
    try:
        function = body_function(body)
    except BodyError as error:
        place.report.add(place.path, "E-SCRIPT", str(error))
        return request
    reads = code_reads(function, site.scope)
    for node, code, message in reads.objections:
        place.report.add(place.path, code, str(BodyError(message, *spot(body.split("\n"), node))))
    return request if reads.objections else {"body": body, "inputs": reads.inputs}


def body_function(body: str, names: Iterable[str] = ()) -> ast.FunctionDef:
    """The function `__body__` with the parameters `names` that a body is; its nodes stand where the body has them.

    A body may be indented as a whole. Raises BodyError, nothing else.
    """
    if "${{" in body:
        before, line = body.partition("${{")[0], body.count("\n", 0, body.index("${{")) + 1
        message = "a value inside code would become code; read it by name, as `params.<name>`"
        raise BodyError(message, line, len(before) - before.rfind("\n"))
    function = _wrapped(_statements(body), names)
    for node, depth in _walk(function):
        _check_node(body, node, depth)
    with _no_code(0):
        compile(ast.Module([function], []), "body", "exec")  # finds what the parser lets pass; runs nothing
    return function


def spot(lines: Sequence[str], node: ast.AST) -> tuple[int, int]:
    """Line and column, from 1 and in characters, at which `node` of code with these `lines` stands."""
    line: int = getattr(node, "lineno", 1)
    column: int = getattr(node, "col_offset", 0)
    text = lines[line - 1] if 0 < line <= len(lines) else ""
    return max(line, 1), len(text.encode(errors="replace")[:column].decode(errors="ignore")) + 1


def _statements(body: str) -> list[ast.stmt]:
    if not _INDENTED.match(body):
        with _no_code(0):
            return ast.parse(body).body
    with _no_code(1):
        tree = ast.parse("if 1:\n" + body)
    ast.increment_lineno(tree, -1)
    first = tree.body[0]
    if len(tree.body) > 1 or not isinstance(first, ast.If) or first.orelse:
        raise BodyError("the lines are not indented alike", *spot(body.split("\n"), tree.body[-1]))
    return first.body


def _wrapped(statements: list[ast.stmt], names: Iterable[str]) -> ast.FunctionDef:
    parameters = ast.arguments([], [ast.arg(name) for name in names], None, [], [], None, [])
    function = ast.FunctionDef("__body__", parameters, statements or [ast.Pass()], [])
    return ast.fix_missing_locations(function)


@contextmanager
def _no_code(shift: int) -> Iterator[None]:
    """Every way in which Python's parser and compiler give up is a BodyError; lines are `shift` too far down."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except SyntaxError as error:
        raise BodyError(
            error.msg or "not code", max(1, (error.lineno or 1) - shift), max(1, error.offset or 1)
        ) from None
    except (MemoryError, RecursionError):
        raise BodyError("nested too deeply") from None
    except ValueError as error:
        raise BodyError(str(error)) from None


def _walk(node: ast.AST) -> Iterator[tuple[ast.AST, int]]:
    """Every node with its depth; a loop, because bodies may be nested deeper than Python's stack is high."""
    left = [(node, 0)]
    while left:
        node, depth = left.pop()
        yield node, depth
        left.extend((each, depth + 1) for each in ast.iter_child_nodes(node))


def _check_node(body: str, node: ast.AST, depth: int) -> None:
    if depth > _MAX_BODY_DEPTH:
        raise BodyError(f"nested deeper than {_MAX_BODY_DEPTH} levels", *spot(body.split("\n"), node))
    if (construct := _NOT_IN_BODIES.get(type(node))) is not None:
        raise BodyError(f"the sandbox does not know `{construct}`", *spot(body.split("\n"), node))
    if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
        raise BodyError("the sandbox does not know `import *`", *spot(body.split("\n"), node))
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    if name.startswith("__") and name.endswith("__"):
        raise BodyError(f"{name:.60}: names with double underscores are refused", *spot(body.split("\n"), node))
