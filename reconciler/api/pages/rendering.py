"""Templates to HTML: everything is escaped, and nothing is loaded from elsewhere or run inline."""

import json
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import Response

from reconciler.api.inert import inert
from reconciler.shortening import shortened
from reconciler.waiting import duration_text

FOLDER = Path(__file__).parent
_SOURCES = (
    "default-src 'none'",
    "style-src 'self'",
    "script-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
)
POLICY = "; ".join(_SOURCES)


def page(template: str, values: dict[str, Any], status: int = 200) -> Response:
    """One page as an answer that is never kept."""
    text = environment().get_template(template).render(values)
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"}
    return Response(text.encode("utf-8", "replace"), status, headers, media_type="text/html; charset=utf-8")


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The templates of this folder with their filters."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "clock": _clock,
        "cut": shortened,
        "inert": inert,
        "pretty": _pretty,
        "segment": _segment,
        "span": duration_text,
    }
    return made


def _clock(moment: str) -> str:
    """`2026-11-22T06:00:00.000Z` as `2026-11-22 06:00:00`."""
    return datetime.fromisoformat(moment).strftime("%Y-%m-%d %H:%M:%S")


def _pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def _segment(text: str) -> str:
    return quote(text, safe="")
