"""Policy: a pure question, answered by the most specific rule, and every no names the setting that would say yes."""

import pytest

from reconciler.policy import Permissions, Rule, allowed, allowed_secret
from reconciler.settings import load

HTTP = {"method": "POST", "url": "https://api.example.org/x"}


def permissions(*rules: dict, strict: bool = True, enabled: tuple[str, ...] = ("http", "process")) -> Permissions:
    return Permissions(strict, frozenset(enabled), tuple(Rule.model_validate(rule) for rule in rules))


def test_strict_refuses_what_nobody_granted_and_names_the_setting() -> None:
    refusal = allowed("http", HTTP, "jobs/a.yaml", permissions())

    assert refusal is not None
    assert refusal.code == "E-HTTP-HOST"
    assert "`hosts: [api.example.org]`" in refusal.message and "policy.rules" in refusal.message


def test_local_allows_any_host() -> None:
    assert allowed("http", HTTP, "jobs/a.yaml", permissions(strict=False)) is None


@pytest.mark.parametrize(
    ("driver", "setting"), [("process", "drivers.process.enabled"), ("container", "drivers.container.enabled")]
)
def test_a_driver_that_is_off_is_refused_by_its_setting_in_every_profile(driver, setting) -> None:
    for strict in (True, False):
        refusal = allowed(driver, {}, "a.yaml", permissions({"drivers": ["*"]}, strict=strict, enabled=("http",)))

        assert refusal is not None and refusal.code == "E-POLICY"
        assert setting in refusal.message


def test_the_profiles_of_the_settings_are_what_policy_asks() -> None:
    local = load(None, {}, {}).permissions
    enabled = load(None, {}, {"drivers.process.enabled": True}).permissions
    strict = load(None, {}, {"drivers.process.enabled": True, "profile": "strict"}).permissions
    block = {"command": ["true"]}

    assert allowed("process", block, "a.yaml", local) is not None
    assert allowed("process", block, "a.yaml", enabled) is None
    assert allowed("process", block, "a.yaml", strict) is not None


@pytest.mark.parametrize(
    ("host", "url", "fits"),
    [
        ("api.example.org", "https://api.example.org/x", True),
        ("api.example.org", "https://API.Example.ORG./x", True),
        ("api.example.org", "https://api.example.org.evil.net/x", False),
        ("*.example.org", "https://api.example.org/x", True),
        ("*.example.org", "https://example.org/x", False),
        ("api.example.org:8443", "https://api.example.org:8443/x", True),
        ("api.example.org:8443", "https://api.example.org/x", False),
        ("api.example.org:443", "https://api.example.org/x", True),
        ("[::1]:80", "http://[::1]/x", True),
        ("::1", "http://[::1]:9/x", True),
        ("*", "http://anything/x", True),
        ("bücher.example", "http://xn--bcher-kva.example/", False),
        ("xn--bcher-kva.example", "http://bücher.example/", True),
    ],
)
def test_hosts_are_patterns_with_an_optional_port(host, url, fits) -> None:
    refusal = allowed("http", {"url": url}, "a.yaml", permissions({"hosts": [host]}))

    assert (refusal is None) is fits


def test_methods_narrow_what_a_rule_speaks_for() -> None:
    rule = {"hosts": ["api.example.org"], "methods": ["get"]}

    assert allowed("http", {**HTTP, "method": "GET"}, "a.yaml", permissions(rule)) is None
    assert allowed("http", HTTP, "a.yaml", permissions(rule)) is not None


@pytest.mark.parametrize(
    "block",
    [
        {"verify": {"url": "http://other.example/", "found": "True"}},
        {"cancel": {"url": "http://other.example/"}},
    ],
)
def test_the_urls_beside_the_call_are_judged_too(block) -> None:
    refusal = allowed("http", {**HTTP, **block}, "a.yaml", permissions({"hosts": ["api.example.org"]}))

    assert refusal is not None and "other.example" in refusal.message


def test_the_most_specific_path_decides() -> None:
    rules = (
        {"path": "", "effect": "deny", "hosts": ["*"]},
        {"path": "teams", "hosts": ["*.example.org"]},
        {"path": "teams/a", "effect": "deny", "hosts": ["api.example.org"]},
    )

    assert allowed("http", HTTP, "teams/b/x.yaml", permissions(*rules)) is None
    assert allowed("http", HTTP, "teams/a/x.yaml", permissions(*rules)) is not None
    assert allowed("http", HTTP, "teams/ab/x.yaml", permissions(*rules)) is None
    assert allowed("http", HTTP, "other/x.yaml", permissions(*rules)) is not None


def test_among_equals_a_denial_wins_whatever_the_order() -> None:
    allow, deny = {"path": "a", "hosts": ["*"]}, {"path": "./a/", "effect": "deny", "hosts": ["api.*"]}

    for rules in ((allow, deny), (deny, allow)):
        refusal = allowed("http", HTTP, "a/x.yaml", permissions(*rules, strict=False))

        assert refusal is not None and "denied" in refusal.message


def test_process_is_granted_by_path_under_strict() -> None:
    rule = {"path": "ops", "drivers": ["process"]}

    assert allowed("process", {"command": ["id"]}, "ops/x.yaml", permissions(rule)) is None
    assert allowed("process", {"command": ["id"]}, "web/x.yaml", permissions(rule)) is not None


@pytest.mark.parametrize(
    "url", ["http://ok\\@169.254.169.254/", "file:///etc/passwd", "http://169.254.169.254/", "http://2130706433", ""]
)
def test_a_url_that_cannot_be_called_is_refused_even_where_everything_is_granted(url) -> None:
    refusal = allowed("http", {"url": url}, "a.yaml", permissions({"hosts": ["*"]}, strict=False))

    assert refusal is not None and refusal.code == "E-HTTP-HOST"


def test_images_namespaces_and_privilege_are_questions_of_their_own() -> None:
    enabled = ("container", "kubernetes")
    drivers = {"drivers": ["container", "kubernetes"], "images": ["registry.example.org/*"], "namespaces": ["demo"]}
    given = permissions(drivers, enabled=enabled)
    run = {"run": {"image": "registry.example.org/a:1"}}
    job = {"job": {"image": "registry.example.org/a:1", "namespace": "demo"}}

    assert allowed("container", run, "a.yaml", given) is None
    assert allowed("container", {"run": {"image": "evil/a"}}, "a.yaml", given) is not None
    assert allowed("container", {**run, "privileged": True}, "a.yaml", given) is not None
    assert allowed("kubernetes", job, "a.yaml", given) is None
    assert allowed("kubernetes", {"exec": {"namespace": "kube-system"}}, "a.yaml", given) is not None


def test_secrets_are_granted_by_pattern() -> None:
    given = permissions({"path": "db", "secrets": ["db/*"]})

    assert allowed_secret("db/password", "db/x.yaml", given) is None
    assert allowed_secret("db/password", "web/x.yaml", given) is not None
    assert allowed_secret("web/token", "db/x.yaml", given) is not None
    assert allowed_secret("web/token", "db/x.yaml", permissions(strict=False)) is None


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("source", ["/var/run/docker.sock", "/", "/srv/../etc", "//srv/data/../../etc"])
def test_a_folder_of_the_host_needs_a_rule_in_every_profile(strict, source) -> None:
    request = {"run": {"image": "a", "mounts": [{"source": source, "target": "/x"}]}}
    granted = {"drivers": ["container"], "images": ["*"], "mounts": ["/srv/data*"]}

    refusal = allowed("container", request, "a.yaml", permissions(granted, strict=strict, enabled=("container",)))

    assert refusal is not None and refusal.code == "E-POLICY"
    assert "`mounts: [" in refusal.message


def test_a_granted_folder_and_under_local_a_volume_by_name_may_be_mounted() -> None:
    mounts = [{"source": "/srv/data/x", "target": "/x"}, {"source": "volume", "target": "/y"}]
    request = {"run": {"image": "a", "mounts": mounts}}
    given = permissions({"mounts": ["/srv/data*"]}, strict=False, enabled=("container",))

    assert allowed("container", request, "a.yaml", given) is None


@pytest.mark.parametrize("network", ["host", "container:other"])
def test_a_network_that_is_not_its_own_is_a_privilege(network) -> None:
    request = {"run": {"image": "a", "network": network}}
    given = permissions({"drivers": ["*"], "images": ["*"]}, enabled=("container",))

    refusal = allowed("container", request, "a.yaml", given)

    assert refusal is not None and "privileged" in refusal.message
