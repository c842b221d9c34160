"""What a campaign of kills happens to: a target that keeps the truth, and a repository whose tasks call it.

Every kind of step that recovers in its own way is in the workflow: polls, a retried failure, a call that the target
deduplicates, one that it does not, and a command beside the controller.
"""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Self

from tests.controllers import job, task
from tests.loopback import Loopback, Request, answer
from tests.repositories import Repository

STEPS = ("poll", "same", "flaky", "run", "once", "last")
OUTPUTS = {"age": 20, "total": 63}
POLLS = 3
_DELAY = 0.03

_WORKFLOW = """\
apiVersion: reconciler/v1
kind: Workflow
metadata: {name: crash}
spec:
  flow: [poll, [same, flaky, run], once, last]
  steps:
    poll: {job: poll, with: {who: "${{ task.name }}"}}
    same: {job: same, with: {age: "${{ steps.poll.age }}"}}
    flaky: {job: flaky}
    run: {job: run}
    once: {job: once, with: {value: "${{ steps.same.doubled + steps.flaky.n + steps.run.n }}"}}
    last: {job: last, with: {value: "${{ steps.once.value }}"}}
  outputs: {age: steps.poll.age, total: steps.last.total}
"""


class World:
    """A folder with a repository, a state folder and a target; `with World(folder) as world:`."""

    def __init__(self, folder: Path) -> None:
        self.repository = Repository(folder / "repository")
        self.state = folder / "state"
        self.marks = folder / "marks"
        self.target = Loopback()
        self.polls: Counter[str] = Counter()
        self.tasks: list[str] = []

    def __enter__(self) -> Self:
        self.target.__enter__()
        url = self.target.url
        self.target.routes = {
            "/poll": self._poll,
            "/same": self._same,
            "/flaky": self._flaky,
            "/once": self._once,
            "/last": self._last,
        }
        command = ["sh", "-c", 'echo "$RECONCILER_ATTEMPT_KEY" >> "$0"; sleep 0.2; echo \'{"n": 20}\'', str(self.marks)]
        # a process that is stopped for 30 s is not to find the time of its calls over
        jobs = [
            job(
                "poll",
                f'http: {{timeout: 90s, url: {url}/poll, query: {{who: "${{{{ params.who }}}}"}}}}',
                "params: {who: string}\nuntil: result.age != None\nevery: 50ms\noutputs: {age: result.age}",
            ),
            job(
                "same",
                f'http: {{timeout: 90s, method: POST, idempotent: true, url: {url}/same, json: {{age: "${{{{ params.age }}}}"}}}}',
                "params: {age: integer}\noutputs: {doubled: result.doubled}\nonLost: retry",
            ),
            job(
                "flaky",
                f"http: {{timeout: 90s, url: {url}/flaky}}",
                "retry: {limit: 2, every: 50ms}\noutputs: {n: result.n}",
            ),
            job("run", f"process: {{command: {json.dumps(command)}}}", "outputs: {n: result.json.n}"),
            job(
                "once",
                f'http: {{timeout: 90s, method: POST, url: {url}/once, json: {{value: "${{{{ params.value }}}}"}}}}',
                "params: {value: integer}\noutputs: {value: result.value}",
            ),
            job(
                "last",
                f'http: {{timeout: 90s, url: {url}/last, query: {{value: "${{{{ params.value }}}}"}}}}',
                "params: {value: integer}\noutputs: {total: result.total}",
            ),
        ]
        self.repository.write("jobs.yaml", "".join(jobs))
        self.repository.write("workflow.yaml", _WORKFLOW)
        self.repository.commit("what there is")
        return self

    def __exit__(self, *error: object) -> None:
        self.target.__exit__(*error)

    def want(self, count: int) -> None:
        """Commit `count` more tasks."""
        names = [f"t{number}" for number in range(len(self.tasks), len(self.tasks) + count)]
        self.repository.commit(f"want {', '.join(names)}", **{name: task(name, "workflow: crash") for name in names})
        self.tasks += names

    def deliveries(self) -> Counter[str]:
        """How often each call key reached the target."""
        return Counter(request.key.strip('"') for request in self.target.requests)

    def runs(self) -> Counter[str]:
        """How often the command of each attempt key really ran."""
        return Counter(self.marks.read_text().split()) if self.marks.exists() else Counter()

    # -- the target --------------------------------------------------------------------------------------------------

    def _poll(self, request: Request, connection) -> None:
        who = request.query["who"][0]
        self.polls[who] += 1
        time.sleep(_DELAY / 3)
        answer(200, {"age": 20 if self.polls[who] >= POLLS else None})(request, connection)

    def _same(self, request: Request, connection) -> None:
        self.target.execute(request)
        time.sleep(_DELAY)
        answer(200, {"doubled": 2 * json.loads(request.body)["age"]})(request, connection)

    def _flaky(self, request: Request, connection) -> None:
        attempt = int(request.key.strip('"').split("/")[-2])
        time.sleep(_DELAY)
        answer(500 if attempt == 1 else 200, {"n": 2})(request, connection)

    def _once(self, request: Request, connection) -> None:
        time.sleep(5 * _DELAY)  # so that many a kill comes between this call and its reply
        self.target.executions[request.key] += 1
        answer(200, json.loads(request.body))(request, connection)

    def _last(self, request: Request, connection) -> None:
        time.sleep(_DELAY)
        answer(200, {"total": int(request.query["value"][0]) + 1})(request, connection)
