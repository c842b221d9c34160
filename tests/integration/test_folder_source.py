import os
from datetime import UTC, datetime, timedelta

import pytest

from definitions.revision import ALLOW_PRUNE, SourceUnavailable
from definitions.sources import folder as folder_module
from definitions.sources.folder import FolderSource
from definitions.sources.git import GitSource
from definitions.sources.open import open_source
from tests.repositories import TASK, Repository

MEBIBYTE = 1024 * 1024
LONG_AFTER = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "defs").mkdir()
    return tmp_path / "defs"


@pytest.fixture
def source(folder):
    return FolderSource("main", folder, ".", lambda: LONG_AFTER)


def write(folder, path, text=TASK):
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def reason(act):
    with pytest.raises(SourceUnavailable) as caught:
        act()
    return caught.value.reason


def reads(monkeypatch):
    seen = []
    read = folder_module._read

    def recording(file, size):
        seen.append(file.name)
        return read(file, size)

    monkeypatch.setattr(folder_module, "_read", recording)
    return seen


def test_the_same_files_are_the_same_revision_and_are_not_read_again(folder, source, monkeypatch):
    write(folder, "a.yaml")
    write(folder, "deep/b.yml")
    first = source.revision()
    seen = reads(monkeypatch)

    assert source.revision() == first
    assert seen == []
    assert first.commit.startswith("dir:") and len(first.commit) == 68
    assert (first.source, first.author, first.at) == ("main", "", LONG_AFTER)
    assert list(source.tree(first).blobs) == ["a.yaml", "deep/b.yml"]


def test_one_changed_file_is_the_one_read_and_the_one_reported(folder, source, monkeypatch):
    for number in range(10):
        write(folder, f"{number}.yaml", f"n: {number}")
    old = source.revision()
    write(folder, "3.yaml", "n: x")
    seen = reads(monkeypatch)

    new = source.revision()

    assert seen == ["3.yaml"]
    assert source.changed(old.commit, new.commit) == frozenset({"3.yaml"})
    assert source.changed("dir:older", new.commit) is None
    assert not source.rewound(old.commit, new.commit)
    assert source.uncommitted() == ()


def test_a_file_touched_a_moment_ago_is_read_again_in_case_its_stamp_hides_a_change(folder, monkeypatch):
    file = write(folder, "a.yaml")
    now = datetime.fromtimestamp(file.stat().st_mtime, UTC) + timedelta(seconds=1)
    source = FolderSource("main", folder, ".", lambda: now)
    source.revision()
    seen = reads(monkeypatch)

    source.revision()

    assert seen == ["a.yaml"]


def test_blobs_are_named_as_git_names_them(folder, source):
    repository = Repository(folder)
    write(folder, "a.yaml", "x" * 1000)
    write(folder, "run.yaml").chmod(0o755)
    repository.commit()
    git = GitSource("main", str(folder), None, ".", folder.parent / "mirror")

    assert source.tree(source.revision()).blobs == git.tree(git.revision()).blobs


def test_contents_are_those_of_the_look_or_none(folder, source):
    write(folder, "a.yaml", "one")
    write(folder, "b.yaml", "two")
    blobs = list(source.tree(source.revision()).blobs.values())
    assert [data for _, data in source.read(blobs)] == [b"one", b"two"]

    for text in ("changed", "eno", ""):
        write(folder, "b.yaml", text)
        assert reason(lambda: list(source.read(blobs))) == "FilesChanged"
    (folder / "b.yaml").unlink()
    assert reason(lambda: list(source.read(blobs))) == "FilesChanged"


def test_a_pipe_put_in_place_of_a_file_does_not_block(folder, source):
    write(folder, "a.yaml", "one")
    blobs = list(source.tree(source.revision()).blobs.values())
    (folder / "a.yaml").unlink()
    os.mkfifo(folder / "a.yaml")

    assert reason(lambda: list(source.read(blobs))) == "FilesChanged"
    assert [problem.code for problem in source.tree(source.revision()).problems] == ["E-FILE-MODE"]


def test_links_big_files_and_deceiving_names_are_refused(folder, source):
    write(folder, "ok.yaml")
    write(folder, "README.md")
    write(folder, ".git/x.yaml")
    write(folder, ".github/x.yaml")
    write(folder, "big.yaml", b"x" * (MEBIBYTE + 1))
    write(folder, "e\u0301.yaml")
    write(folder, b"latin\xe9.yaml".decode("utf-8", "surrogateescape"))
    for name, target in [("p.yaml", "/etc/passwd"), ("loop", "."), ("LICENSE", "README.md"), ("self", "self")]:
        (folder / name).symlink_to(target)

    tree = source.tree(source.revision())

    assert list(tree.blobs) == ["ok.yaml"]
    assert {problem.file: problem.code for problem in tree.problems} == {
        "p.yaml": "E-FILE-MODE",
        "loop": "E-FILE-MODE",
        "self": "E-FILE-MODE",
        "big.yaml": "E-SIZE",
        "e\u0301.yaml": "E-PATH",
        "latin\\udce9.yaml": "E-PATH",
    }


def test_a_refused_file_that_is_mended_is_a_new_revision(folder, source):
    write(folder, "a.yaml")
    (folder / "b.yaml").symlink_to("a.yaml")
    broken = source.revision()
    (folder / "b.yaml").unlink()

    assert source.revision().commit != broken.commit


def test_the_folder_itself_may_be_a_link_as_in_a_mounted_config_map(tmp_path):
    write(tmp_path, "..v1/a.yaml", "one")
    write(tmp_path, "..v2/a.yaml", "two")
    (tmp_path / "..data").symlink_to("..v1")
    source = FolderSource("main", tmp_path / "..data", ".", lambda: LONG_AFTER)
    old = source.revision()
    (tmp_path / "..new").symlink_to("..v2")
    (tmp_path / "..new").replace(tmp_path / "..data")

    new = source.revision()

    assert source.changed(old.commit, new.commit) == frozenset({"a.yaml"})
    assert [data for _, data in source.read(list(source.tree(new).blobs.values()))] == [b"two"]


def test_a_vanished_or_emptied_folder_is_unavailable(folder, tmp_path):
    source = FolderSource("main", tmp_path, "defs", lambda: LONG_AFTER)
    write(folder, "a.yaml")
    revision = source.revision()
    assert list(source.tree(revision).blobs) == ["defs/a.yaml"]

    (folder / "a.yaml").unlink()
    assert reason(source.revision) == "EmptySource"
    folder.rmdir()
    assert reason(source.revision) == "PathVanished"
    folder.touch()
    assert reason(source.revision) == "PathVanished"


def test_an_emptied_folder_is_believed_when_pruning_is_allowed(folder):
    source = FolderSource("main", folder, ".", lambda: LONG_AFTER, trailers=((ALLOW_PRUNE, "3"),))

    revision = source.revision()

    assert dict(source.tree(revision).blobs) == {}
    assert revision.trailer(ALLOW_PRUNE) == "3"


def test_too_many_files_are_refused_before_any_is_read(folder, source, monkeypatch):
    monkeypatch.setattr("definitions.sources.acceptance.FILES_LIMIT", 5)
    for number in range(6):
        write(folder, f"{number}.yaml")
    seen = reads(monkeypatch)

    assert reason(source.revision) == "TooManyFiles"
    assert seen == []


# --- from the words of the operator


def test_a_path_with_a_repository_is_a_git_source(tmp_path):
    repository = Repository(tmp_path / "repository")
    repository.write("defs/a.yaml")
    commit = repository.commit(b=TASK)
    bare = tmp_path / "bare.git"
    repository.git("clone", "--quiet", "--bare", ".", str(bare))

    for number, location in enumerate([repository.folder, repository.folder.as_uri(), bare]):
        source = open_source("main", str(location), None, ".", tmp_path / str(number), lambda: LONG_AFTER)
        assert source.revision().commit == commit
        assert list(source.tree(source.revision()).blobs) == ["b.yaml", "defs/a.yaml"]


def test_from_inside_a_work_tree_the_path_is_taken_from_there(tmp_path, monkeypatch):
    repository = Repository(tmp_path / "repository")
    repository.write("defs/x/a.yaml")
    repository.commit(b=TASK)
    monkeypatch.chdir(repository.folder / "defs")

    source = open_source("main", ".", None, "x", tmp_path / "mirror", lambda: LONG_AFTER)

    assert list(source.tree(source.revision()).blobs) == ["defs/x/a.yaml"]


def test_a_folder_is_asked_for_by_name(folder, tmp_path):
    write(folder, "a.yaml")

    source = open_source("main", f"dir:{folder}", None, ".", tmp_path / "mirror", lambda: LONG_AFTER)

    assert list(source.tree(source.revision()).blobs) == ["a.yaml"]
    assert source.describe() == f"dir:{folder}"
    assert source.watch_paths() == (folder,)
    assert not (tmp_path / "mirror").exists()


def test_a_plain_folder_is_told_how_to_be_a_source(folder, tmp_path):
    with pytest.raises(SourceUnavailable, match=f"dir:{folder}"):
        open_source("main", str(folder), None, ".", tmp_path / "mirror", lambda: LONG_AFTER)


def test_a_folder_has_no_ref(folder, tmp_path):
    assert reason(lambda: open_source("main", f"dir:{folder}", "main", ".", tmp_path, lambda: LONG_AFTER)) == "BadRef"
