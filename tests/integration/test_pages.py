"""The pages: complete without JavaScript, nothing from elsewhere, and nothing that came from outside acts."""

import re
from html.parser import HTMLParser
from urllib.parse import quote

import httpx
import pytest

from state.logs import Logs
from tests.read_side import grade_class, served

ALICE = "/tasks/demo/grade-alice"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    world = grade_class(tmp_path_factory.mktemp("state"))
    log = Logs(world.folder / "logs").log(world.store.live()[0], "step1", 1)
    log.write(b"<script>alert(1)</script>\x1b]52;c;aGk=\x07 \xff\n")
    with served(world.folder) as address, httpx.Client(base_url=address, trust_env=False) as client:
        yield client
    world.close()


class Reading(HTMLParser):
    """Tags and text of a page, and whether everything that was opened is closed."""

    VOID = frozenset({"meta", "link", "input", "br"})

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def page(client, path, status=200):
    answer = client.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    read = Reading(answer.text)
    assert read.open == []
    return read


def test_the_first_page_lists_tasks_with_state_and_reason(client):
    read = page(client, "/")

    assert all(text in read.text for text in ("grade-alice", "评分 鲍勃", "FAILED", "not adopted"))
    assert ("a", f"/tasks/{quote('默认')}/{quote('评分 鲍勃')}") in [
        (tag, found.get("href")) for tag, found in read.tags
    ]


def test_the_list_is_filtered_by_a_form_and_empty_fields_mean_any(client):
    read = page(client, "/?state=FAILED&namespace=&workflow=&label=class%3Da&sort=created")

    assert "grade-carol" in read.text
    assert "grade-alice" not in read.text


def test_a_filter_that_makes_no_sense_is_a_page_that_says_so(client):
    assert "state" in page(client, "/?state=DONE", 400).text
    assert "cursor" in page(client, "/?cursor=nonsense", 400).text


def test_more_tasks_than_fit_are_behind_a_link(client):
    read = page(client, "/?limit=1")

    more = next(found["href"] for tag, found in read.tags if found.get("rel") == "next")
    assert "grade-carol" in page(client, more).text


def test_a_task_shows_the_sentence_the_tree_the_attempts_and_the_log(client):
    read = page(client, ALICE)

    assert "step1 polls again" in read.text
    assert all(path in read.text for path in ("step2", "api3", "step4", "step2 waits for step1"))
    assert "Attempts" in read.text
    assert "<script>alert(1)</script>␛]52;c;aGk=␇ \ufffd" in read.text


def test_a_step_is_chosen_by_a_link(client):
    read = page(client, f"{ALICE}?step=step2.api3")

    assert ("a", "true") in [(tag, found.get("aria-current")) for tag, found in read.tags]
    assert "step2.api3 waits for step2.api2" in read.text


def test_what_a_target_said_is_shown_and_does_not_act(client):
    answer = client.get("/tasks/demo/grade-carol")

    assert "status 500: &lt;b&gt;no&lt;/b&gt;␛[31m" in answer.text
    assert "\x1b" not in answer.text


def test_a_task_that_is_not_there_is_a_page(client):
    assert "there is no task demo/nobody" in page(client, "/tasks/demo/nobody", 404).text


def test_definitions_show_problems_with_their_place(client):
    read = page(client, "/definitions?accepted=false")

    assert "3:5 E-UNKNOWN-FIELD unknown field `shedule`" in read.text


@pytest.mark.parametrize("path", ["/", ALICE, f"{ALICE}?step=step2", "/definitions", "/tasks/demo/nobody"])
def test_nothing_is_inline_and_nothing_comes_from_elsewhere(client, path):
    answer = client.get(path)
    tags = Reading(answer.text).tags

    policy = answer.headers["content-security-policy"]
    loaded = [found.get("src") or found.get("href") for tag, found in tags if tag in {"script", "link", "img"}]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert all(address.startswith("/assets/") for address in loaded)
    assert all(client.get(address).status_code == 200 for address in loaded)
    assert not [found for _, found in tags if "style" in found or any(name.startswith("on") for name in found)]


@pytest.mark.parametrize("path", ["/", ALICE, "/definitions"])
def test_a_page_has_a_language_a_title_one_heading_and_named_fields(client, path):
    read = page(client, path)
    tags = [tag for tag, _ in read.tags]

    assert ("html", {"lang": "en"}) in read.tags
    assert tags.count("h1") == tags.count("title") == tags.count("main") == 1
    assert tags.count("label") == tags.count("input") + tags.count("select")
    assert all("scope" in found for tag, found in read.tags if tag == "th")


def test_a_page_refreshes_itself_with_and_without_scripts(client):
    answer = client.get(ALICE)

    assert '<script src="/assets/live.js" defer></script>' in answer.text
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in answer.text
    assert "refresh" not in client.get(f"/tasks/{quote('默认')}/{quote('评分 鲍勃')}").text


def test_an_asset_has_its_type_and_no_other_file_is_given(client):
    assert client.get("/assets/style.css").headers["content-type"] == "text/css; charset=utf-8"
    assert client.get("/assets/..%2ftemplates%2ftask.html").status_code == 404
    assert client.get("/assets/rendering.py").status_code == 404
