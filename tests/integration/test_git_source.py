import os
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from definitions.revision import ALLOW_PRUNE, FILES_LIMIT, SourceUnavailable, pointer_problem
from definitions.sources.git import GitSource
from definitions.sources.mirror import Mirror
from tests.repositories import TASK, Repository

MEBIBYTE = 1024 * 1024


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "repository")


@pytest.fixture
def source(repository, tmp_path):
    return open_git(repository.folder, tmp_path)


def open_git(location, tmp_path, ref=None, path=".", mirror="mirror"):
    return GitSource("main", str(location), ref, path, tmp_path / "state" / mirror)


def codes(tree):
    return {problem.file: problem.code for problem in tree.problems}


def reason(act):
    with pytest.raises(SourceUnavailable) as caught:
        act()
    return caught.value.reason


def commands(monkeypatch):
    """The git subcommands that mirrors start from now on."""
    seen = []
    start = Mirror._start

    def recording(self, arguments, configuration, lines):
        lines = list(lines)
        seen.append((next(each for each in arguments if not each.startswith("-")), lines))
        return start(self, arguments, configuration, lines)

    monkeypatch.setattr(Mirror, "_start", recording)
    return seen


# --- revisions


def test_a_revision_says_who_committed_what_when_and_with_which_trailers(repository, source):
    commit = repository.commit("Add a task\n\nWhy: because\n\nReconciler-Allow-Prune: 7\nReviewed-by: Bob", a=TASK)

    revision = source.revision()

    assert (revision.source, revision.commit, revision.subject) == ("main", commit, "Add a task")
    assert (revision.author, revision.email, revision.committer) == (
        "Alice Author",
        "alice@example.org",
        "Carl Committer",
    )
    assert revision.at == datetime.fromtimestamp(1760000100, UTC)
    assert revision.trailers == (("Reconciler-Allow-Prune", "7"), ("Reviewed-by", "Bob"))
    assert revision.trailer(ALLOW_PRUNE.lower()) == "7"
    assert revision.signer is None


def test_a_revision_that_is_no_news_costs_one_git_command(repository, source, monkeypatch):
    repository.commit(a=TASK)
    first = source.revision()
    seen = commands(monkeypatch)

    assert source.revision() is first
    assert [name for name, _ in seen] == ["ls-remote"]


def test_a_restart_finds_the_mirror_and_does_not_fetch_again(repository, source, tmp_path, monkeypatch):
    commit = repository.commit(a=TASK)
    source.revision()
    source.close()
    seen = commands(monkeypatch)

    assert open_git(repository.folder, tmp_path).revision().commit == commit
    assert "fetch" not in [name for name, _ in seen]


def test_a_new_commit_is_seen_with_exactly_the_paths_it_changed(repository, source):
    old = repository.commit(a=TASK, b=TASK)
    source.revision()
    repository.write("notes.txt", "not ours")
    repository.write("wéird name\nx.yaml", "b: 2")
    (repository.folder / "a.yaml").unlink()
    new = repository.commit(b=TASK + "---\n")

    assert source.revision().commit == new
    assert source.changed(old, new) == {"a.yaml", "b.yaml", "notes.txt", "wéird name\nx.yaml"}
    assert source.changed(old, old) == frozenset()
    assert source.changed("dir:0", new) is None
    assert source.changed("0" * 40, new) is None


def test_a_file_of_an_earlier_commit_can_be_read_as_it_was(repository, source):
    old = repository.commit(a=TASK, b=TASK, c=TASK)
    source.revision()
    (repository.folder / "a.yaml").unlink()
    repository.write("notes.txt", "not ours")
    new = repository.commit(b=TASK + "---\n", d=TASK)
    source.revision()

    then = source.since(old[:7], new)

    assert then == source.since(old, new)
    assert {path: bool(blob.oid) for path, blob in then.items()} == {"a.yaml": True, "b.yaml": True, "d.yaml": False}
    assert [data.decode() for _, data in source.read([then["a.yaml"], then["b.yaml"]])] == [TASK, TASK]
    assert source.since(new[:7], new) == {}


@pytest.mark.parametrize("name", ["0" * 40, "abcdef0", "HEAD", "main", "--all", "", "-n1", "HEAD~1"])
def test_what_names_no_commit_of_the_history_has_no_difference(repository, source, name):
    new = repository.commit(a=TASK)
    source.revision()

    assert source.since(name, new) is None


def test_a_commit_that_is_not_in_the_history_of_the_revision_has_no_difference(repository, source):
    old = repository.commit(a=TASK)
    gone = repository.commit(b=TASK)
    source.revision()
    repository.git("reset", "--quiet", "--hard", old)
    new = repository.commit(c=TASK)

    assert source.revision().commit == new
    assert source.since(gone, new) is None
    assert not source.rewound(old, new)


@pytest.mark.parametrize(
    ("ref", "kind"), [("topic/x", "branch"), ("v1", "tag"), ("refs/heads/topic/x", "branch"), ("COMMIT", "commit")]
)
def test_a_ref_is_a_branch_a_tag_or_a_full_commit(repository, tmp_path, ref, kind):
    wanted = repository.commit(a=TASK)
    repository.git("branch", "topic/x")
    repository.git("tag", "--annotate", "--message", "one", "v1")
    repository.commit(a="later: 1")

    source = open_git(repository.folder, tmp_path, wanted if ref == "COMMIT" else ref)

    assert source.revision().commit == wanted
    assert source.revision().commit == wanted
    assert list(source.tree(source.revision()).blobs) == ["a.yaml"]


def test_without_a_ref_the_branch_of_the_first_look_is_followed(repository, source):
    repository.commit(a=TASK)
    source.revision()
    repository.git("switch", "--quiet", "--create", "experiment")
    repository.commit("elsewhere", b=TASK)
    assert source.revision().subject == "a change"

    repository.git("switch", "--quiet", "main")
    commit = repository.commit("on main", c=TASK)

    assert source.revision().commit == commit
    assert "at main" in source.describe()


def test_a_detached_head_is_followed(repository, source):
    commit = repository.commit(a=TASK)
    repository.git("checkout", "--quiet", "--detach")

    assert source.revision().commit == commit


def test_a_force_push_is_a_rewind_that_still_gives_an_exact_difference(repository, source):
    first = repository.commit(a=TASK)
    second = repository.commit(b=TASK)
    source.revision()
    repository.git("reset", "--quiet", "--hard", first)
    assert source.revision().commit == first
    assert source.rewound(second, first)
    other = repository.commit("other", c=TASK)

    assert source.revision().commit == other
    assert source.rewound(second, other)
    assert not source.rewound(first, other)
    assert source.changed(second, other) == {"b.yaml", "c.yaml"}


def test_an_orphan_branch_in_place_of_the_old_one_is_a_rewind(repository, source):
    old = repository.commit(a=TASK)
    source.revision()
    repository.git("checkout", "--quiet", "--orphan", "fresh")
    new = repository.commit(a=TASK, b=TASK)
    repository.git("branch", "--move", "--force", "fresh", "main")

    assert source.revision().commit == new
    assert source.rewound(old, new)


def test_commits_with_hostile_bytes_and_impossible_dates_are_still_revisions(repository, source):
    tree = repository.git("rev-parse", repository.commit(a=TASK) + "^{tree}")
    subject = b"\xff\xfe \x1b[31mred \xe2\x80\xae" + b"x" * 2_000_000
    people = b"author \xe9 <e@x> 99999999999999 +0000\ncommitter \xe9 <e@x> 99999999999999 +0000\n"
    raw = b"tree " + tree.encode() + b"\n" + people + b"encoding no-such-charset\n\n" + subject + b"\n"
    commit = repository.git("hash-object", "-w", "-t", "commit", "--stdin", data=raw)
    repository.git("update-ref", "refs/heads/main", commit)

    revision = source.revision()

    assert revision.commit == commit
    assert revision.subject.startswith("��") and "\x1b" not in revision.subject and "\u202e" not in revision.subject
    assert len(revision.subject) < 2_000
    assert revision.at.tzinfo is UTC


# --- trees and contents


def test_only_yaml_below_the_path_outside_hidden_folders_is_listed_from_the_root(repository, tmp_path):
    for path in ("defs/b.yml", "defs/deep/a.yaml", "defs/.github/x.yaml", "other/c.yaml", "defs/readme.md"):
        repository.write(path, path)
    repository.commit()

    source = open_git(repository.folder, tmp_path, path="./defs/")
    tree = source.tree(source.revision())

    assert list(tree.blobs) == ["defs/b.yml", "defs/deep/a.yaml"]
    assert tree.problems == ()
    assert [(blob.path, data) for blob, data in source.read(list(tree.blobs.values()))] == [
        ("defs/b.yml", b"defs/b.yml"),
        ("defs/deep/a.yaml", b"defs/deep/a.yaml"),
    ]


def test_contents_keep_every_byte_and_the_order_asked(repository, source):
    texts = {"a.yaml": b"no newline", "b.yaml": b"", "c.yaml": b"\n\0\xff\n\n", "d.yaml": b"x" * MEBIBYTE}
    for path, text in texts.items():
        repository.write(path, text)
    repository.commit()
    blobs = source.tree(source.revision()).blobs

    asked = [blobs[path] for path in ("d.yaml", "b.yaml", "d.yaml", "c.yaml", "a.yaml")] * 4

    assert [(blob.path, data) for blob, data in source.read(asked)] == [(blob.path, texts[blob.path]) for blob in asked]


def test_a_file_beyond_the_limit_is_refused_without_being_read(repository, source, monkeypatch):
    with repository.write("big.yaml", "").open("r+b") as sparse:
        sparse.truncate(2 * MEBIBYTE)
    repository.commit(ok=TASK)
    big = repository.git("rev-parse", "HEAD:big.yaml")
    seen = commands(monkeypatch)

    tree = source.tree(source.revision())
    contents = list(source.read(list(tree.blobs.values())))

    assert codes(tree) == {"big.yaml": "E-SIZE"}
    assert [blob.path for blob, _ in contents] == ["ok.yaml"]
    assert all(big not in lines for _, lines in seen)


def test_links_are_refused_unless_they_lead_to_some_other_file(repository, source):
    repository.write("README.md", "text")
    for name, target in [
        ("passwd.yaml", "/etc/passwd"),
        ("same.yaml", "ok.yaml"),
        ("outside", "/etc"),
        ("loop", "loop"),
        ("here", "."),
        ("folder", "sub"),
        ("LICENSE", "README.md"),
    ]:
        (repository.folder / name).symlink_to(target)
    repository.commit(ok=TASK)
    repository.write("sub/x.yaml")
    repository.commit()

    tree = source.tree(source.revision())

    refused = {"passwd.yaml", "same.yaml", "outside", "loop", "here", "folder"}
    assert codes(tree) == dict.fromkeys(refused, "E-FILE-MODE")
    assert list(tree.blobs) == ["ok.yaml", "sub/x.yaml"]


def test_submodules_are_refused_and_never_entered(repository, source):
    commit = repository.commit(ok=TASK)
    repository.write(".gitmodules", '[submodule "-x"]\n\tpath = -vendor\n\turl = --upload-pack=touch\n')
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{commit},vendor")
    repository.git("add", ".gitmodules")
    repository.git("commit", "--quiet", "--message", "submodule")

    tree = source.tree(source.revision())

    assert codes(tree) == {".gitmodules": "E-FILE-MODE", "vendor": "E-FILE-MODE"}
    assert list(tree.blobs) == ["ok.yaml"]


def test_paths_that_deceive_are_refused_and_shown_inert(repository, source):
    blob = repository.blob(b"a: 1")
    names = [
        b"tab\there.yaml",
        b"line\nbreak.yaml",
        "right\u202eleft.yaml".encode(),
        "zero\u200bwidth.yaml".encode(),
        "e\u0301.yaml".encode(),
        b"latin\xe9.yaml",
        b"Twice.yaml",
        b"twice.yaml",
        "übung/日本.yaml".encode(),
        b"-rf.yaml",
        b" spaces in it.yaml",
        b'quote".yaml',
        b"odd\xff.txt",
    ]
    repository.commit_tree(*(("100644", blob, name) for name in names))

    tree = source.tree(source.revision())

    assert set(tree.blobs) == {"übung/日本.yaml", "-rf.yaml", " spaces in it.yaml", 'quote".yaml'}
    assert codes(tree) == dict.fromkeys(
        [
            "tab\\there.yaml",
            "line\\nbreak.yaml",
            "right\\u202eleft.yaml",
            "zero\\u200bwidth.yaml",
            "e\u0301.yaml",
            "latin\\udce9.yaml",
            "Twice.yaml",
            "twice.yaml",
        ],
        "E-PATH",
    )
    assert len(list(source.read(list(tree.blobs.values())))) == 4


def test_an_lfs_pointer_is_told_by_its_first_bytes(repository, source):
    repository.commit(lfs="version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", ok=TASK)
    blobs = source.tree(source.revision()).blobs

    problems = [pointer_problem(blob, data) for blob, data in source.read(list(blobs.values()))]

    assert [problem and (problem.file, problem.code) for problem in problems] == [("lfs.yaml", "E-LFS"), None]


def test_too_many_files_make_the_whole_revision_unavailable(repository, source, monkeypatch):
    blob = repository.blob(b"a: 1")
    repository.commit_tree(*(("100644", blob, b"%d/%d.yaml" % (n % 50, n)) for n in range(FILES_LIMIT + 1)))
    revision = source.revision()

    with pytest.raises(SourceUnavailable, match=r"E-COUNT: 20001 definition files"):
        source.tree(revision)
    assert reason(lambda: source.tree(revision)) == "TooManyFiles"


def test_too_many_bytes_make_the_whole_revision_unavailable(repository, source):
    blob = repository.blob(b"x" * MEBIBYTE)
    repository.commit_tree(*(("100644", blob, b"%d.yaml" % n) for n in range(65)))

    assert reason(lambda: source.tree(source.revision())) == "TooManyBytes"


def test_ten_thousand_files_are_listed_and_read_in_moments(repository, source, capsys):
    oids = [repository.blob(b"kind: Task # %d" % n) for n in range(20)]
    repository.commit_tree(*(("100644", oids[n % 20], b"%d/task-%d.yaml" % (n % 100, n)) for n in range(10_000)))
    started = time.perf_counter()
    revision = source.revision()
    fetched = time.perf_counter()
    tree = source.tree(revision)
    listed = time.perf_counter()
    total = sum(len(data) for _, data in source.read(list(tree.blobs.values())))
    read = time.perf_counter()
    for _ in range(20):
        source.revision()
    again = time.perf_counter()
    with capsys.disabled():
        print(
            f"\n10,000 files: fetch {fetched - started:.3f} s, list {listed - fetched:.3f} s, "
            f"read {read - listed:.3f} s, no-op {(again - read) / 20 * 1000:.1f} ms"
        )

    assert total == sum(blob.size for blob in tree.blobs.values())
    assert read - started < 10


# --- what makes a source unavailable


def test_an_unborn_head_is_no_commits(repository, source):
    assert reason(source.revision) == "NoCommits"
    commit = repository.commit(a=TASK)
    assert source.revision().commit == commit


def test_an_unknown_ref_and_a_deleted_branch_are_ref_not_found(repository, tmp_path):
    repository.commit(a=TASK)
    repository.git("branch", "gone")
    source = open_git(repository.folder, tmp_path, "gone")
    source.revision()
    repository.git("branch", "-D", "gone")

    assert reason(source.revision) == "RefNotFound"
    assert reason(open_git(repository.folder, tmp_path, "never", mirror="m2").revision) == "RefNotFound"
    assert reason(open_git(repository.folder, tmp_path, "f" * 40, mirror="m3").revision) == "RefNotFound"


def test_a_place_without_a_repository_is_said_to_be_none(tmp_path):
    (tmp_path / "plain").mkdir()

    assert reason(open_git(tmp_path / "plain", tmp_path).revision) == "NotARepository"
    assert reason(open_git(tmp_path / "nowhere", tmp_path).revision) == "NotARepository"


def test_a_tag_that_names_no_commit_is_unavailable(repository, tmp_path):
    repository.commit(a=TASK)
    repository.git("tag", "tree", "HEAD^{tree}")

    assert reason(open_git(repository.folder, tmp_path, "tree").revision) == "RefNotFound"


def test_a_repository_that_is_away_for_a_while_keeps_the_mirror(repository, source, tmp_path):
    commit = repository.commit(a=TASK)
    revision = source.revision()
    repository.folder.rename(tmp_path / "away")

    assert reason(source.revision) == "NotARepository"
    assert list(source.tree(revision).blobs) == ["a.yaml"]

    (tmp_path / "away").rename(repository.folder)
    assert source.revision().commit == commit


def test_a_vanished_path_is_unavailable(repository, tmp_path):
    repository.write("defs/a.yaml")
    repository.commit()
    source = open_git(repository.folder, tmp_path, path="defs")
    assert list(source.tree(source.revision()).blobs) == ["defs/a.yaml"]
    repository.git("mv", "defs", "moved")
    repository.commit()

    assert reason(lambda: source.tree(source.revision())) == "PathVanished"
    repository.write("defs", "a file now")
    repository.commit()
    assert reason(lambda: source.tree(source.revision())) == "PathVanished"


def test_an_empty_tree_needs_the_trailer(repository, source):
    repository.commit(a=TASK)
    source.revision()
    (repository.folder / "a.yaml").unlink()
    repository.commit("empty")
    assert reason(lambda: source.tree(source.revision())) == "EmptySource"

    repository.commit("really\n\nReconciler-Allow-Prune: 1")

    assert dict(source.tree(source.revision()).blobs) == {}


@pytest.mark.parametrize(
    "location",
    ["--upload-pack=touch /tmp/x", "ext::sh -c id", "fd::3", "https://example.org/x", "host:repo", "file://host/x", ""],
)
def test_an_address_that_is_not_a_local_one_is_refused(location, tmp_path):
    assert reason(lambda: open_git(location, tmp_path)) == "BadLocation"


@pytest.mark.parametrize(
    "ref", ["--output=x", "", "a b", "a..b", "x~1", "x^{tree}", "main:path", "a*", "@{u}", "x.lock", "x\n", "/x", "x/"]
)
def test_a_ref_that_is_not_a_plain_name_is_refused(ref, tmp_path):
    assert reason(lambda: open_git(tmp_path, tmp_path, ref)) == "BadRef"


@pytest.mark.parametrize("path", ["/etc", "../x", "a/../../x", "a\nb"])
def test_a_path_outside_the_repository_is_refused(path, tmp_path):
    assert reason(lambda: open_git(tmp_path, tmp_path, path=path)) == "BadPath"


# --- kinds of repositories


def test_bare_linked_shallow_and_packed_repositories_and_urls_are_sources(repository, tmp_path):
    repository.commit(a=TASK)
    commit = repository.commit(b=TASK)
    bare, shallow, linked = tmp_path / "bare repo.git", tmp_path / "shallow", tmp_path / "linked"
    repository.git("clone", "--quiet", "--bare", ".", str(bare))
    repository.git("clone", "--quiet", "--depth=1", repository.folder.as_uri(), str(shallow))
    repository.git("worktree", "add", "--quiet", str(linked), "-b", "linked")
    repository.git("pack-refs", "--all")
    repository.git("gc", "--quiet")

    for number, location in enumerate([bare, bare.as_uri(), shallow, linked, repository.folder]):
        source = open_git(location, tmp_path, mirror=str(number))
        assert source.revision().commit == commit
        assert list(source.tree(source.revision()).blobs) == ["a.yaml", "b.yaml"]
        assert any(path.exists() for path in source.watch_paths())


def test_a_shallow_history_gets_the_benefit_of_the_doubt(repository, tmp_path):
    old = repository.commit(a=TASK)
    shallow = tmp_path / "shallow"
    repository.git("clone", "--quiet", "--depth=1", repository.folder.as_uri(), str(shallow))
    source = open_git(shallow, tmp_path)
    assert source.revision().commit == old
    repository.commit(b=TASK)
    new = repository.commit(c=TASK)
    subprocess.run(["git", "fetch", "--quiet", "--depth=1"], cwd=shallow, check=True)
    subprocess.run(["git", "reset", "--quiet", "--hard", "origin/main"], cwd=shallow, check=True)

    assert source.revision().commit == new
    assert not source.rewound(old, new)
    assert source.changed(old, new) == {"b.yaml", "c.yaml"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_repository_of_another_user_can_be_read(repository, source):
    commit = repository.commit(a=TASK)
    for path in (repository.folder, *repository.folder.rglob("*")):
        os.lchown(path, 12345, 12345)

    assert source.revision().commit == commit
    assert source.uncommitted() == ()


def test_the_callers_environment_does_not_matter(repository, source, tmp_path, monkeypatch):
    commit = repository.commit(a=TASK)
    decoy = Repository(tmp_path / "decoy")
    decoy.commit("decoy", z=TASK)
    monkeypatch.setenv("GIT_DIR", str(decoy.folder / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(decoy.folder))
    monkeypatch.setenv("GIT_INDEX_FILE", "/nonexistent")
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", "/nonexistent")
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "nonsense")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/nonexistent")
    monkeypatch.setenv("GIT_TRACE", "1")
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")

    revision = source.revision()

    assert revision.commit == commit
    assert list(source.tree(revision).blobs) == ["a.yaml"]
    assert source.changed(commit, commit) == frozenset()
    assert source.uncommitted() == ()


# --- the mirror is disposable


def test_a_mirror_damaged_between_starts_is_made_anew(repository, source, tmp_path):
    commit = repository.commit(a=TASK)
    source.revision()
    mirror = tmp_path / "state" / "mirror"
    (mirror / "HEAD").write_bytes(b"\0garbage")
    shutil.rmtree(mirror / "objects")

    again = open_git(repository.folder, tmp_path)

    assert again.revision().commit == commit
    assert list(again.tree(again.revision()).blobs) == ["a.yaml"]


@pytest.mark.parametrize("damage", ["objects", "everything"])
def test_a_mirror_damaged_under_a_running_source_is_made_anew(repository, source, tmp_path, damage):
    repository.commit(a=TASK)
    revision = source.revision()
    tree = source.tree(revision)
    shutil.rmtree(tmp_path / "state" / "mirror" / (damage if damage == "objects" else ""))

    assert source.tree(revision) == tree
    shutil.rmtree(tmp_path / "state" / "mirror" / (damage if damage == "objects" else ""))
    assert [data for _, data in source.read(list(tree.blobs.values()))] == [TASK.encode()]
    shutil.rmtree(tmp_path / "state" / "mirror" / (damage if damage == "objects" else ""))
    commit = repository.commit(b=TASK)
    assert source.revision().commit == commit


def test_a_flipped_bit_in_the_mirror_is_noticed_and_mended(repository, source, tmp_path):
    repository.commit(a=TASK)
    tree = source.tree(source.revision())
    oid = tree.blobs["a.yaml"].oid
    mirror = tmp_path / "state" / "mirror"
    for pack in (mirror / "objects" / "pack").glob("*.pack"):
        data = pack.rename(tmp_path / "pack").read_bytes()
        repository.git("unpack-objects", "-q", data=data, env={"GIT_DIR": str(mirror)})
    loose = mirror / "objects" / oid[:2] / oid[2:]
    other = repository.blob(b"x" * tree.blobs["a.yaml"].size)
    loose.chmod(0o600)
    shutil.copyfile(repository.folder / ".git" / "objects" / other[:2] / other[2:], loose)

    assert [data for _, data in source.read([tree.blobs["a.yaml"]])] == [TASK.encode()]


def test_a_repository_at_fault_does_not_make_the_mirror_anew_at_every_look(repository, source, monkeypatch):
    repository.commit(a=TASK)
    blob = repository.git("rev-parse", "HEAD:a.yaml")
    (repository.folder / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    made = []
    make = Mirror.make

    def counting(self):
        made.append(self)
        make(self)

    monkeypatch.setattr(Mirror, "make", counting)

    assert [reason(source.revision) for _ in range(4)] == ["FetchFailed"] * 4
    assert len(made) == 2  # the first look makes it, the first failure makes it anew

    repository.write("a.yaml")
    repository.git("hash-object", "-w", "a.yaml")
    assert list(source.tree(source.revision()).blobs) == ["a.yaml"]


def test_a_mirror_that_cannot_be_written_makes_the_source_unavailable(repository, tmp_path):
    repository.commit(a=TASK)
    (tmp_path / "state").write_text("a file where the folder should be")

    assert reason(open_git(repository.folder, tmp_path).revision) == "MirrorUnwritable"


def test_locks_left_by_a_killed_fetch_are_removed_at_the_next_start(repository, source, tmp_path):
    repository.commit(a=TASK)
    source.revision()
    mirror = tmp_path / "state" / "mirror"
    for lock in ("refs/reconciler/tip.lock", "packed-refs.lock", "shallow.lock", "config.lock", "HEAD.lock"):
        (mirror / lock).touch()
    commit = repository.commit(b=TASK)

    assert open_git(repository.folder, tmp_path).revision().commit == commit
    assert not list(mirror.rglob("*.lock"))


def test_a_fetch_that_hangs_is_killed_at_the_deadline(repository, source, monkeypatch):
    repository.commit(a=TASK)
    source.revision()
    repository.commit(b=TASK)
    monkeypatch.setattr("definitions.sources.mirror.DEADLINE", 0.3)
    refs = repository.folder / ".git" / "refs" / "heads"
    (refs / "main").unlink()
    os.mkfifo(refs / "main")
    started = time.monotonic()

    assert reason(source.revision) == "FetchFailed"
    assert time.monotonic() - started < 5


def test_packs_do_not_pile_up_over_many_fetches(repository, source, tmp_path, monkeypatch):
    monkeypatch.setattr("definitions.sources.mirror._PACKS_LIMIT", 5)
    first = repository.commit(a=TASK)
    source.revision()
    for number in range(20):
        last = repository.commit(a=f"n: {number}")
        source.revision()

    assert len(list((tmp_path / "state" / "mirror" / "objects" / "pack").glob("*.pack"))) <= 6
    assert source.changed(first, last) == {"a.yaml"}


def test_two_hundred_looks_leave_no_file_open_and_no_child(repository, source):
    for number in range(3):
        repository.commit(a=f"n: {number}")
        source.tree(source.revision())
    before = len(os.listdir("/proc/self/fd")), children()
    for number in range(200):
        if number % 50 == 0:
            repository.commit(a=f"m: {number}")
        source.revision()
    list(source.read(list(source.tree(source.revision()).blobs.values())))

    assert (len(os.listdir("/proc/self/fd")), children()) == before


def children() -> str:
    """The processes that this one has started and that are there."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text()


# --- the work tree


def test_uncommitted_definitions_are_named_and_nothing_else(repository, source):
    for path in ("kept.yaml", "edited.yaml", "deleted.yaml", "sub/staged.yaml"):
        repository.write(path)
    repository.write("foreign.yaml", "a: 1")
    repository.write("foreign-deleted.yaml", "a: 1")
    repository.write(".gitignore", "ignored.yaml\n")
    repository.commit()
    repository.write("edited.yaml", TASK + "# more")
    repository.write("new näme.yaml")
    repository.write("ignored.yaml")
    repository.write("foreign.yaml", "a: 2")
    repository.write(".hidden/x.yaml")
    repository.write("sub/staged.yaml", TASK + "# staged")
    repository.git("add", "sub/staged.yaml")
    (repository.folder / "deleted.yaml").unlink()
    (repository.folder / "foreign-deleted.yaml").unlink()

    assert source.uncommitted() == ("deleted.yaml", "edited.yaml", "new näme.yaml", "sub/staged.yaml")


def test_uncommitted_runs_nothing_that_the_repository_configures(repository, source, tmp_path):
    repository.commit(a=TASK)
    marker = tmp_path / "ran"
    repository.git("config", "core.fsmonitor", f"touch {marker}")
    repository.write("b.yaml")

    assert source.uncommitted() == ("b.yaml",)
    assert not marker.exists()


def test_each_file_has_the_commit_that_brought_it_and_not_the_tip(repository: Repository, tmp_path: Path) -> None:
    repository.write("a.yaml", "a: 1\n")
    first = repository.commit("first")
    repository.write("dir/b c.yaml", "b: 1\n")
    repository.write("odd\nname.yaml", "o: 1\n")
    second = repository.commit("second")
    repository.git("checkout", "-q", "-b", "side")
    repository.write("side.yaml", "s: 1\n")
    third = repository.commit("third")
    repository.git("checkout", "-q", "main")
    repository.write("notes.txt", "no definition\n")
    repository.commit("fourth")
    repository.git("merge", "-q", "--no-edit", "side")
    source = GitSource("main", str(repository.folder), None, ".", tmp_path / "mirror")
    tip = source.revision()

    brought = source.origins({"a.yaml", "dir/b c.yaml", "side.yaml", "odd\nname.yaml", "none.yaml"}, None, tip.commit)
    since = source.origins({"a.yaml", "side.yaml"}, second, tip.commit)

    assert {path: revisions[0].subject for path, revisions in brought.items()} == {
        "a.yaml": "first",
        "dir/b c.yaml": "second",
        "odd\nname.yaml": "second",
        "side.yaml": "third",
    }
    assert brought["a.yaml"][0].commit == first
    assert {path: revisions[0].commit for path, revisions in since.items()} == {"side.yaml": third}


def test_the_versions_of_a_file_go_back_to_where_it_was_not_there_or_too_large(repository, source):
    repository.commit("one", a="1")
    first = repository.commit("two", a="22")
    repository.commit("elsewhere", b="x")
    repository.write("a.yaml").unlink()
    repository.commit("gone")
    repository.commit("back", a="333")
    tip = repository.commit("again", a="4444", **{"odd [a]": "5"})
    source.revision()

    def told(path: str, old: str | None, new: str) -> list[tuple[str, bytes]]:
        revisions = source.origins({path}, old, new).get(path, ())
        return [(each.subject, data) for each, data in zip(revisions, source.versions(path, revisions), strict=False)]

    assert told("a.yaml", None, tip) == [("again", b"4444"), ("back", b"333")]
    assert told("odd [a].yaml", None, tip) == [("again", b"5")]
    assert told("a.yaml", tip, tip) == told("none.yaml", None, tip) == []
    assert told("a.yaml", None, first) == [("two", b"22"), ("one", b"1")]
    assert source.versions("a\nb.yaml", [source.revision()]) == ()

    repository.commit("large", a="x" * (MEBIBYTE + 1))
    small = repository.commit("small", a="6")
    source.revision()
    assert told("a.yaml", tip, small) == [("small", b"6")]
