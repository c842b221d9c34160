"""Scripts as steps of a task that a real controller runs: reading steps, failing clearly, and allowed by policy."""

import json

import pytest

from tests.controllers import found, run_until_idle, task

WORKFLOW = """\
apiVersion: reconciler/v1
kind: Job
metadata: {name: reduce}
spec:
  params: {result: array}
  script:
    body: |
      r = { 'name': '' }
      r['name'] = result[3].name
      return r
  outputs: {name: result.name}
---
apiVersion: reconciler/v1
kind: Workflow
metadata: {name: stars}
spec:
  params: {count: {type: integer, default: 4}}
  steps:
    make:
      script:
        body: |
          print('making', params.count)
          return [{'name': (n + 1) * '*'} for n in range(params.count)]
      outputs: {all: result}
    pick: {job: reduce, with: {result: "${{ steps.make.all }}"}}
    tell:
      script: {body: "return steps.pick.name + '!' if steps.make.all[9:] == [] else None"}
      outputs: {text: result}
  outputs: {text: steps.tell.text}
---
"""


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "definitions"
    made.mkdir()
    (made / "stars.yaml").write_text(WORKFLOW + task("four", "workflow: stars"))
    return made


def test_the_seeds_reduction_finishes_as_a_step_between_others(tmp_path, folder):
    controller = run_until_idle(f"dir:{folder}", tmp_path / "state")

    done = found(tmp_path / "state", "four")
    assert controller.process.returncode == 0, controller.output.read_text()
    assert done is not None
    assert done.record.outputs == {"text": "****!"}
    logs = [file.read_bytes() for file in (tmp_path / "state" / "logs").rglob("*") if file.is_file()]
    assert [log for log in logs if b"making 4" in log]


def test_a_script_that_fails_fails_its_step_with_the_reason_and_the_controller_goes_on(tmp_path, folder):
    bomb = "spec: {script: {body: \"while True: print('x' * 9)\"}}\n"
    (folder / "bomb.yaml").write_text(
        f"apiVersion: reconciler/v1\nkind: Job\nmetadata: {{name: bomb}}\n{bomb}---\n"
        + task("boom", "job: bomb")
        + task("short", "workflow: stars, with: {count: 2}")
    )

    controller = run_until_idle(f"dir:{folder}", tmp_path / "state")

    boom, short, four = (found(tmp_path / "state", name) for name in ("boom", "short", "four"))
    assert controller.process.returncode == 1
    assert boom is not None and short is not None and four is not None
    assert boom.attempts["job"].message in {
        "TimeoutError: it ran longer than 0.5 s",
        "OutputTooLarge: it printed more than 1024 KiB",
    }
    assert short.attempts["pick"].message.startswith("IndexError: list index out of range (line 2, column 13")
    assert four.record.outputs == {"text": "****!"}


def test_under_the_strict_profile_scripts_need_a_rule(tmp_path, folder):
    settings = tmp_path / "settings.yaml"
    settings.write_text("profile: strict\n")
    granted = tmp_path / "granted.yaml"
    granted.write_text(json.dumps({"profile": "strict", "policy": {"rules": [{"path": "", "drivers": ["script"]}]}}))

    run_until_idle(f"dir:{folder}", tmp_path / "closed", "--settings", str(settings), "--adopt", "start")
    run_until_idle(f"dir:{folder}", tmp_path / "open", "--settings", str(granted), "--adopt", "start")

    refused, allowed = found(tmp_path / "closed", "four"), found(tmp_path / "open", "four")
    assert refused is not None and allowed is not None
    assert "`drivers: [script]`" in refused.attempts["make"].message
    assert allowed.record.outputs == {"text": "****!"}
