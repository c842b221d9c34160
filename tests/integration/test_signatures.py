"""Signers of commits, with real keys and real signatures."""

import shutil
import subprocess
from pathlib import Path

import pytest

from definitions.revision import SourceUnavailable
from definitions.sources.git import GitSource
from tests.controllers import found, job, run_until_idle, task
from tests.loopback import Loopback, answer
from tests.repositories import TASK, Repository

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="signs with ssh-keygen")


def key(folder: Path, name: str) -> Path:
    file = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(file)], check=True)
    return file


def signed(repository: Repository, by: Path, **files: str) -> str:
    """The commit of `files`, signed with a key."""
    repository.git("config", "gpg.format", "ssh")
    repository.git("config", "user.signingKey", str(by))
    repository.git("config", "commit.gpgSign", "true")
    try:
        return repository.commit("signed", **files)
    finally:
        repository.git("config", "commit.gpgSign", "false")


@pytest.fixture
def ada(tmp_path):
    return key(tmp_path, "ada")


@pytest.fixture
def allowed(tmp_path, ada):
    file = tmp_path / "signers"
    file.write_text(f"ada@example.org {ada.with_suffix('.pub').read_text()}")
    return file


def signers(repository: Repository, mirror: Path, allowed: Path | None, *paths: str) -> list[str | None]:
    """The signer of the tip, then of the last commit that changed each path."""
    source = GitSource("main", str(repository.folder), None, ".", mirror, signers=allowed)
    revision = source.revision()
    origins = source.origins(paths, None, revision.commit)
    return [revision.signer, *(origins[path][0].signer for path in paths)]


def test_a_signer_is_who_signed_with_a_key_that_the_operator_trusts(tmp_path, ada, allowed):
    repository = Repository(tmp_path / "repository")
    signed(repository, ada, a=TASK)
    signed(repository, key(tmp_path, "mallory"), b=TASK)
    repository.commit("nobody signed this", c=TASK)

    paths = ("a.yaml", "b.yaml", "c.yaml")

    assert signers(repository, tmp_path / "one", allowed, *paths) == [None, "ada@example.org", None, None]
    assert signers(repository, tmp_path / "two", None, *paths) == [None] * 4
    signed(repository, ada, d=TASK)
    assert signers(repository, tmp_path / "three", allowed) == ["ada@example.org"]


def test_a_source_whose_signers_are_to_be_known_is_unavailable_without_their_keys(tmp_path):
    repository = Repository(tmp_path / "repository")
    repository.commit(a=TASK)

    with pytest.raises(SourceUnavailable) as caught:
        signers(repository, tmp_path / "mirror", tmp_path / "missing")
    assert caught.value.reason == "SignersMissing"


def test_a_task_names_the_signer_and_the_committer_of_its_file(tmp_path, ada, allowed, monkeypatch):
    monkeypatch.setenv("RECONCILER_SOURCE_SIGNERS", str(allowed))
    repository = Repository(tmp_path / "ops")
    with Loopback() as target:
        target.routes["/ok"] = answer(200, {})
        signed(repository, ada, jobs=job("ok", f"http: {{url: {target.url}/ok}}"), one=task("one", "job: ok"))
        done = run_until_idle(repository.folder, tmp_path / "state")

    assert done.process.returncode == 0, done.text
    snapshot = found(tmp_path / "state", "one")
    assert snapshot is not None
    assert (snapshot.record.origin.signer, snapshot.record.origin.committer) == ("ada@example.org", "Carl Committer")
