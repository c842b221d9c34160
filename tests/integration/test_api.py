"""The native API over a real state folder, by a real server on a free port."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from urllib.parse import quote

import httpx
import pytest

from reconciler.api import definition_models, models
from state.changes import StepAdvanced
from state.logs import Logs
from state.phases import Signal
from state.records import Cause
from tests.read_side import grade_class, served

TASKS = "/api/v1/tasks"
ALICE = f"{TASKS}/demo/grade-alice"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = grade_class(tmp_path_factory.mktemp("state"))
    (made.folder / "heartbeat").touch()
    (made.folder / "counters.json").write_text(
        json.dumps({"ticks": 7, "flying": 2, "calls": {"http": 3, "bad": "x"}, "no-name": 1})
    )
    log = Logs(made.folder / "logs").log(made.store.live()[0], "step1", 1)
    log.write(b"GET http://127.0.0.1:9/api1\n", "driver")
    log.write(b"".join(b"line %d\n" % number for number in range(100)))
    yield made
    made.close()


@pytest.fixture(scope="module")
def client(world):
    with served(world.folder) as address, httpx.Client(base_url=address, trust_env=False) as client:
        yield client


def problem(answer, status):
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert set(body) == {"type", "title", "status", "detail", "instance"}
    return body["detail"]


# --- lists


def test_tasks_are_listed_newest_first_with_state_and_sentence(client):
    body = client.get(TASKS).json()

    said = {each["metadata"]["name"]: (each["status"]["state"], each["status"]["reason"]) for each in body["items"]}
    assert list(said) == ["grade-dave", "grade-carol", "评分 鲍勃", "grade-alice"]
    assert said["grade-dave"] == ("CREATED", "Unadopted")
    assert said["grade-carol"] == ("FAILED", "Failed")
    assert body["next"] is None
    models.Page[models.TaskSummary].model_validate(body)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"state": "FAILED"}, ["grade-carol"]),
        ({"namespace": "默认"}, ["评分 鲍勃"]),
        ({"label": "class=a"}, ["grade-carol", "grade-alice"]),
        ({"label": ["class=a", "class=b"]}, []),
        ({"label": "class=a", "state": "RUNNING"}, ["grade-alice"]),
        ({"workflow": "grade", "limit": 1}, ["grade-dave"]),
        ({"workflow": "other"}, []),
    ],
)
def test_tasks_are_filtered(client, query, names):
    body = client.get(TASKS, params=query).json()

    assert [each["metadata"]["name"] for each in body["items"]] == names


def test_tasks_sorted_by_due_begin_with_the_one_due_first(client):
    body = client.get(TASKS, params={"sort": "due", "state": "RUNNING"}).json()

    assert [each["metadata"]["name"] for each in body["items"]] == ["grade-alice"]
    assert body["items"][0]["status"]["expectedFinish"]


def test_pages_join_to_the_whole_list(client):
    names, cursor = [], None
    for _ in range(9):
        body = client.get(TASKS, params={"limit": 1, **({"cursor": cursor} if cursor else {})}).json()
        names += [each["metadata"]["name"] for each in body["items"]]
        cursor = body["next"]
        if cursor is None:
            break

    assert names == ["grade-dave", "grade-carol", "评分 鲍勃", "grade-alice"]


# --- one task


def test_a_task_shows_its_tree_also_what_has_not_started_and_why_it_waits(client):
    body = client.get(ALICE).json()

    status = body["status"]
    assert list(body) == ["apiVersion", "kind", "metadata", "spec", "status"]
    assert (status["state"], status["reason"]) == ("RUNNING", "Polling")
    assert status["message"].startswith("step1 polls again")
    assert [each["path"] for each in status["steps"]] == ["step1", "step2", "step3", "step4"]
    assert [each["path"] for each in status["steps"][1]["steps"]] == ["step2.api2", "step2.api3"]
    assert status["steps"][1]["message"] == "step2 waits for step1"
    assert status["source"]["author"] == "Ada"
    assert {each["name"] for each in status["definitions"]} >= {"grade", "api1", "api6"}
    models.Task.model_validate(body)


def test_a_name_of_any_script_is_found_percent_encoded(client):
    body = client.get(f"{TASKS}/{quote('默认')}/{quote('评分 鲍勃')}").json()

    assert body["metadata"]["name"] == "评分 鲍勃"
    assert body["status"]["outputs"] == {"grade": "A"}


def test_a_step_is_an_object_of_its_own(client):
    body = client.get(f"{ALICE}/steps/step2.api2").json()

    assert (body["spec"]["job"], body["status"]["state"]) == ("api2", "CREATED")
    models.Step.model_validate(body)


def test_attempts_are_listed_for_the_task_and_for_a_step_and_shown_alone(client):
    whole, step = client.get(f"{ALICE}/attempts").json(), client.get(f"{ALICE}/attempts/step1").json()
    alone = client.get(f"{ALICE}/attempts/step1/1").json()

    assert whole == step == {"items": [alone], "next": None}
    assert alone["status"]["reason"] == "Polling"
    assert alone["metadata"]["key"].endswith("/step1/-/1")
    models.Attempt.model_validate(alone)


def test_the_document_is_that_of_the_seed(client):
    body = client.get(f"{ALICE}/document").json()

    assert list(body["step_info"]) == ["step1", "step2", "step3", "step4"]
    assert body["step_info"]["step2"]["api_status"]["api2"]["args"] == {"name": "${{ steps.step1.name }}"}
    assert body["status"] == "RUNNING"


def test_a_run_is_chosen_by_number(client):
    assert client.get(ALICE, params={"run": 1}).json()["metadata"]["run"] == 1
    assert problem(client.get(ALICE, params={"run": 2}), 404) == "there is no run 2 of a task demo/grade-alice"


# --- what should run


def test_definitions_say_accepted_or_their_problems(client):
    good = client.get("/api/v1/definitions", params={"accepted": "true", "kind": "Workflow"}).json()
    bad = client.get("/api/v1/definitions", params={"accepted": "false"}).json()

    assert [each["metadata"]["name"] for each in good["items"]] == ["grade"]
    assert good["items"][0]["spec"]["flow"] == ["step1", ["step2", "step3"], "step4"]
    assert bad["items"][0]["status"]["problems"][0]["code"] == "E-UNKNOWN-FIELD"
    models.Page[definition_models.Definition].model_validate(bad)


def test_sources_and_revisions_say_what_is_in_force(client):
    sources, revisions = client.get("/api/v1/sources").json(), client.get("/api/v1/revisions").json()

    assert sources["items"][0]["status"]["revision"]["author"] == "Ada"
    assert revisions["items"][0]["metadata"]["name"] == sources["items"][0]["status"]["revision"]["commit"]
    models.Page[definition_models.Source].model_validate(sources)
    models.Page[definition_models.Revision].model_validate(revisions)


def test_events_name_task_and_cause_and_continue_after_a_sequence(client):
    first = client.get("/api/v1/events", params={"limit": 3}).json()
    last = first["items"][-1]["sequence"]
    rest = client.get("/api/v1/events", params={"after": last}).json()
    own = client.get(f"{ALICE}/events").json()

    assert first["items"][0]["task"] == "grade-alice"
    assert first["items"][0]["cause"]["author"] == "Ada"
    assert min(each["sequence"] for each in rest["items"]) > last
    assert {each["task"] for each in own["items"]} == {"grade-alice"}
    models.Page[models.Event].model_validate(rest)


# --- logs


def test_a_log_is_text_that_no_browser_acts_on(client):
    answer = client.get(f"{ALICE}/log")

    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-location"].endswith("/log?run=1&step=step1&attempt=1")
    assert answer.text.startswith("[driver] GET http://127.0.0.1:9/api1\nline 0\n")


def test_a_range_of_a_log_is_206_with_its_place(client):
    whole = client.get(f"{ALICE}/log").content
    part = client.get(f"{ALICE}/log", headers={"Range": "bytes=10-19"})
    beyond = client.get(f"{ALICE}/log", headers={"Range": f"bytes={len(whole)}-"})

    assert (part.status_code, part.content) == (206, whole[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole)}"
    assert problem(beyond, 416) == "the log has no such bytes"
    assert beyond.headers["content-range"] == f"bytes */{len(whole)}"


def test_the_last_lines_and_an_offset_are_given(client):
    assert client.get(f"{ALICE}/log", params={"tail": 2}).text == "line 98\nline 99\n"
    assert client.get(f"{ALICE}/log", params={"offset": 9, "limit": 3}).text == "GET"


def test_a_task_without_an_attempt_has_no_log(client):
    assert problem(client.get(f"{TASKS}/demo/grade-dave/log"), 404) == "there was no attempt yet, so there is no log"
    assert "no attempt 7" in problem(client.get(f"{ALICE}/log", params={"step": "step1", "attempt": 7}), 404)


# --- the protocol


def test_an_answer_that_is_known_is_304(client):
    for path in (TASKS, f"{TASKS}/demo/grade-carol", "/api/v1/definitions", "/api/v1/events"):
        tag = client.get(path).headers["etag"]
        again = client.get(path, headers={"If-None-Match": f'"other", W/{tag}'})

        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert client.get(TASKS, headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_commit_is_seen_by_the_next_request(tmp_path):
    world = grade_class(tmp_path)
    with served(world.folder) as address, httpx.Client(base_url=address, trust_env=False) as client:
        before = client.get(TASKS)
        world.admit("grade-erin")
        after = client.get(TASKS)
    world.close()

    assert after.json()["items"][0]["metadata"]["name"] == "grade-erin"
    assert before.headers["etag"] != after.headers["etag"]


def test_a_list_says_of_a_task_that_has_not_begun_which_of_its_steps_stands_in_line(tmp_path):
    world = grade_class(tmp_path)
    uid = world.admit("grade-erin")
    world.commit(StepAdvanced(uid, "step1", Signal.QUEUE, Cause("plan"), "QueuedForCapacity", "1 of 1 calls under way"))
    with served(world.folder) as address, httpx.Client(base_url=address, trust_env=False) as client:
        shown = client.get(TASKS).json()["items"][0]["status"]
    world.close()

    assert (shown["state"], shown["reason"]) == ("CREATED", "QueuedForCapacity")
    assert shown["message"] == "step1 is queued: 1 of 1 calls under way; it is next"


def test_head_has_the_headers_and_no_body(client):
    for path in (TASKS, ALICE, f"{ALICE}/log", "/", "/api/v1/events?follow=true", f"{ALICE}/log?follow=true"):
        answer = client.head(path)

        assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_everything_that_would_write_is_405_and_says_what_is_allowed(client, method):
    for path in (TASKS, ALICE, f"{ALICE}/log", "/api/v1/events", "/", "/healthz"):
        answer = client.request(method, path)

        assert "commit" in problem(answer, 405)
        assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        (f"{TASKS}?colour=red", 400, "unknown query parameter `colour`"),
        (f"{ALICE}?fresh=1", 400, "unknown query parameter `fresh`"),
        (f"{TASKS}?limit=501", 422, "`limit`"),
        (f"{TASKS}?limit=0", 422, "`limit`"),
        (f"{TASKS}?state=DONE", 422, "`state`"),
        (f"{TASKS}?label=app", 422, "key=value"),
        (f"{TASKS}?cursor=nonsense", 400, "cursor"),
        ("/api/v1/events?after=-1", 422, "`after`"),
        ("/api/v1/nothing", 404, "/openapi.json"),
        (f"{TASKS}/demo/nobody", 404, "there is no task demo/nobody"),
        (f"{ALICE}/steps/step9", 404, "no step `step9`"),
        (f"{ALICE}/attempts/step9", 404, "no attempt at `step9`"),
        (f"{ALICE}/attempts/step1/9", 404, "no attempt 9"),
        (f"{ALICE}/attempts/step1/x", 422, "`number`"),
        (f"{TASKS}/demo/..%2f..%2fetc", 404, ""),
    ],
)
def test_a_wrong_question_is_refused_in_one_form(client, path, status, said):
    assert said in problem(client.get(path), status)


def test_nothing_is_loaded_from_elsewhere_and_there_is_no_page_for_the_api_itself(client):
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404
    assert client.get("/openapi.json").json()["info"]["title"] == "reconciler"


# --- who may ask


def test_a_name_that_points_here_from_elsewhere_is_refused(client):
    assert "this machine" in problem(client.get(TASKS, headers={"Host": "evil.example"}), 403)


def test_a_token_is_asked_of_everyone_but_the_probes(world):
    with served(world.folder, token="s3cret") as address, httpx.Client(base_url=address, trust_env=False) as client:
        answer = client.get(TASKS)

        assert "Bearer" in problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert client.get(TASKS, headers={"Authorization": "Bearer s3cret", "Host": "any.example"}).status_code == 200
        assert client.get("/", auth=("me", "s3cret")).status_code == 200
        assert client.get("/metrics").status_code == 401
        assert client.get("/healthz").status_code == 200


# --- probes


def test_ready_needs_a_heartbeat_of_the_last_15_seconds(world, client):
    heartbeat = world.folder / "heartbeat"
    assert client.get("/readyz").json()["ready"] is True

    long_ago = heartbeat.stat().st_mtime - 60
    os.utime(heartbeat, (long_ago, long_ago))

    assert "has not been heard of for 6" in problem(client.get("/readyz"), 503)
    assert client.get("/healthz").status_code == 200
    heartbeat.touch()


def test_ready_says_that_no_new_call_is_made_and_so_do_the_pages(world, client):
    counters, heartbeat = world.folder / "counters.json", world.folder / "heartbeat"
    kept = counters.read_text()
    counters.write_text(json.dumps(json.loads(kept) | {"closed": "the disk is <short>"}))

    ready, shown = client.get("/readyz").json(), client.get("/").text
    counters.write_text(kept)
    os.utime(heartbeat, (1, 1))
    gone = client.get("/").text
    heartbeat.touch()

    assert (ready["ready"], ready["closed"]) == (True, "the disk is <short>")
    assert "the controller makes no new call: the disk is &lt;short&gt;" in shown
    assert "the controller has not been heard of for " in gone
    assert 'role="alert"' not in client.get("/").text


def test_metrics_count_rows_and_what_the_controller_counts(client):
    text = client.get("/metrics").text

    assert 'reconciler_tasks{namespace="demo",state="FAILED"} 1.0' in text
    assert 'reconciler_tasks{namespace="默认",state="FINISHED"} 1.0' in text
    assert "reconciler_ticks_total 7.0" in text
    assert "reconciler_flying 2.0" in text
    assert 'reconciler_calls_total{kind="http"} 3.0' in text
    assert 'reconciler_definitions{accepted="false",kind="Job"} 1.0' in text
    assert "reconciler_state_readable 1.0" in text
    assert "no-name" not in text


def test_a_folder_without_a_database_is_503_and_alive(tmp_path):
    with served(tmp_path) as address, httpx.Client(base_url=address, trust_env=False) as client:
        assert "start a controller" in problem(client.get(TASKS), 503)
        assert "no controller has run" in problem(client.get("/readyz"), 503)
        assert client.get("/healthz").status_code == 200
        assert "reconciler_state_readable 0.0" in client.get("/metrics").text
        assert client.get("/").status_code == 503


def test_a_list_of_50_is_answered_fast(tmp_path):
    world = grade_class(tmp_path)
    for number in range(60):
        world.admit(f"task-{number:03}")
    with served(world.folder) as address:

        def ask(count):
            with httpx.Client(base_url=address, trust_env=False) as client:
                for _ in range(count):
                    assert len(client.get(TASKS, params={"limit": 50}).json()["items"]) == 50

        ask(20)
        begun = perf_counter()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(ask, [100, 100]))
        rate = 200 / (perf_counter() - begun)
    world.close()

    print(f"\nlists of 50: {rate:.0f} req/s with the clients in this process")
    assert rate > 20
