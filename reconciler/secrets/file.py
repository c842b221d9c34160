"""Secrets from a folder: `db/password` is the file db/password below it, as a mounted Kubernetes secret lays them out."""

from pathlib import Path

from reconciler.secrets.provider import SecretUnavailable

MAX_BYTES = 64 << 10


class FileSecrets:
    """A provider over `folder`. Links are followed only as far as they stay in it (mounted secrets are links)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, reference: str) -> str | None:
        """The file's text without one newline at its end. Raises SecretUnavailable for a file that is no secret."""
        path = self._locate(reference)
        if path is None:
            return None
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise SecretUnavailable(f"secret {reference} cannot be read: {error.strerror}") from None
        if len(data) > MAX_BYTES:
            raise SecretUnavailable(f"secret {reference} is larger than {MAX_BYTES} bytes")
        return _text(reference, data)

    def describe(self, reference: str) -> str:
        """The file's name below the folder."""
        return f"the file {reference} below {self._folder} (setting `secrets.folder`)"

    def _locate(self, reference: str) -> Path | None:
        parts = reference.split("/")
        if any(part in {"", ".", ".."} for part in parts) or "\0" in reference:
            raise SecretUnavailable(f"secret {reference!r} is not a path below the secrets folder")
        try:
            path = self._folder.joinpath(*parts).resolve()
            inside = path.is_relative_to(self._folder.resolve())
            regular = path.is_file()
        except (OSError, RuntimeError):  # a loop of links
            return None
        if not inside:
            raise SecretUnavailable(f"secret {reference} is a link that leaves the secrets folder")
        return path if regular else None


def _text(reference: str, data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise SecretUnavailable(f"secret {reference} is not UTF-8 text") from None
    return text.removesuffix("\n").removesuffix("\r")
