"""A source opened beside the controller, for one look: its mirror is gone afterwards."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from definitions.revision import Source
from definitions.sources.open import open_source
from reconciler.settings import SourceSettings


@contextmanager
def opened(wanted: SourceSettings) -> Iterator[Source]:
    """The source that the settings name. Raises SourceUnavailable."""
    with tempfile.TemporaryDirectory(prefix="reconciler-look-") as folder:
        mirror = Path(folder) / "mirror"
        place = (wanted.name, wanted.location, wanted.ref, wanted.path)
        source = open_source(*place, mirror, lambda: datetime.now(UTC), wanted.signers)
        try:
            yield source
        finally:
            source.close()
