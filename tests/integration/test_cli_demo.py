"""The demonstration as a newcomer starts it, and that it leaves nothing behind on either way out."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = (sys.executable, "-m", "reconciler.cli.demo")


def children_below(folder: Path) -> list[str]:
    """The command lines of the processes that use a demonstration's folder below `folder`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in text:
            found.append(text)
    return found


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}


@pytest.mark.timeout(90)
def test_the_demonstration_checks_everything_it_claims_and_leaves_nothing(tmp_path):
    done = subprocess.run(COMMAND, env=environment(tmp_path), capture_output=True, text=True, timeout=80, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("   ok: ") == 17
    assert "Picked up" in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert children_below(tmp_path) == []


@pytest.mark.timeout(60)
def test_a_demonstration_that_is_told_to_end_ends_its_children(tmp_path):
    with subprocess.Popen(COMMAND, env=environment(tmp_path), stdout=subprocess.PIPE, text=True) as demonstration:
        assert demonstration.stdout is not None
        for line in demonstration.stdout:
            if "RUNNING" in line:
                break
        during = children_below(tmp_path)
        demonstration.send_signal(signal.SIGTERM)
        demonstration.communicate(timeout=40)

    assert len(during) >= 2
    assert demonstration.returncode == 128 + signal.SIGTERM
    assert children_below(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
