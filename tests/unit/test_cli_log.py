import json

from reconciler.cli.log import Wanted, pieces


class Answers:
    """An API in which three attempts left a log each: the one that found the targets, and one at each of them."""

    LOGS = {"deploy": b"found\n", "deploy.0": b"zero\n", "deploy.1": b"one\x1b[2J\n", "deploy-twice": b"other\n"}

    def fetch(self, path, query):
        if path.endswith("/log"):
            return self.LOGS[query["step"]]
        items = [{"metadata": {"path": step}} for step in self.LOGS]
        return json.dumps({"items": items, "next": None}).encode()

    def ready(self):
        return b""


def test_the_logs_of_a_task_are_those_of_its_innermost_steps_each_one_time():
    text = "".join(pieces(Answers(), Wanted("/tasks/default/one", None, None)))

    assert text == "== deploy.0 ==\nzero\n== deploy.1 ==\none�[2J\n== deploy-twice ==\nother\n"


def test_the_log_of_one_step_has_no_heading():
    assert "".join(pieces(Answers(), Wanted("/tasks/default/one", "deploy", None))) == "found\n"
