"""Settings: three layers, one tree, and errors that name the place where somebody wrote the mistake."""

from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.errors import SettingsError
from reconciler.settings import Settings, load, parse_size
from reconciler.settings_layers import settings_paths, variable


@pytest.fixture
def write(tmp_path):
    def file(text: str) -> Path:
        path = tmp_path / "settings.yaml"
        path.write_text(text)
        return path

    return file


def test_the_defaults_are_those_of_a_laptop() -> None:
    settings = load(None, {}, {})

    assert settings.profile == "local"
    assert settings.listen == "127.0.0.1:8080"
    assert settings.source.poll == timedelta(seconds=30)
    assert settings.dispatch.per_driver == {"process": 4}
    assert settings.limits.log == 10 << 20
    assert settings.enabled_drivers == {"http", "script", "container"}
    assert settings.loopback
    assert settings.cold_start == "start"


def test_the_strict_profile_holds_and_stays_off_this_machine() -> None:
    settings = load(None, {}, {"profile": "strict"})

    assert settings.cold_start == "hold"
    assert not settings.loopback
    assert settings.permissions.strict


def test_a_flag_wins_over_the_environment_and_that_over_the_file(write) -> None:
    file = write("source: {location: from-file, ref: from-file, path: from-file}\nminFree: 1GiB\n")
    environ = {"RECONCILER_SOURCE_REF": "from-env", "RECONCILER_SOURCE_PATH": "from-env"}

    settings = load(file, environ, {"source.path": "from-flag", "source.ref": None})

    assert settings.source.location == "from-file"
    assert settings.source.ref == "from-env"
    assert settings.source.path == "from-flag"
    assert settings.min_free == 1 << 30


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("{address: 'tcp://a:2376', certificate: c, key: k}", "the connection is not encrypted"),
        ("{address: 'tcp://a:2376', ca: a, certificate: c}", "`certificate` and `key` belong together"),
        ("{address: 'unix:///a', ca: a}", "`ca` is for an address with tcp://"),
    ],
)
def test_half_of_a_tls_connection_is_an_error_and_no_connection_without_it(write, host, said) -> None:
    file = write(f"drivers: {{container: {{hosts: {{far: {host}}}}}}}\n")

    with pytest.raises(SettingsError, match=said) as raised:
        load(file, {}, {})

    assert "drivers.container.hosts.far" in str(raised.value)


def test_every_setting_has_a_variable_that_sets_it() -> None:
    examples = {
        "profile": "strict",
        "listen": "off",
        "adopt": "hold",
        "policy.rules": "[{path: a, hosts: [b]}]",
        "dispatch.perDriver": "{http: 3}",
        "source.poll": "1m",
        "drivers.http.connectTimeout": "1m",
        "drivers.http.loopback": "true",
        "drivers.script.timeout": "1s",
        "drivers.container.timeout": "1m",
        "drivers.container.hosts": "{a: {address: 'tcp://a:2376'}}",
        "drivers.script.memory": "7MiB",
    }
    for path, _ in settings_paths(Settings):
        name = ".".join(path)
        default = load(None, {}, {})
        value = examples.get(
            name, "false" if _find(default, path) is True else "true" if _find(default, path) is False else "7"
        )

        changed = load(None, {variable(path): value}, {})

        assert _find(changed, path) != _find(default, path), name


def test_every_setting_is_described() -> None:
    def check(model) -> None:
        for name, field in model.model_fields.items():
            if hasattr(field.annotation, "model_fields"):
                check(field.annotation)
            else:
                assert (field.description or "").endswith("."), name

    check(Settings)


def test_an_enabled_driver_is_named_by_a_dotted_flag() -> None:
    settings = load(None, {}, {"drivers.process.enabled": True})

    assert settings.enabled_drivers == {"http", "process", "script", "container"}


def test_the_environment_may_name_the_file(write) -> None:
    settings = load(None, {"RECONCILER_SETTINGS": str(write("wait: true\n"))}, {})

    assert settings.wait


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("source:\n  locaton: x\n", ":2:3: source.locaton", "did you mean `location`"),
        ("minFree: much\n", ":1:1: minFree", "write 64KiB"),
        ("dispatch: {total: 0}\n", ":1:12: dispatch.total", "greater than or equal to 1"),
        ("policy:\n  rules:\n    - {path: a, hots: [x]}\n", ":3:17: policy.rules.0.hots", "unknown setting"),
        ("a: [\n", ":2:1", "E-SYNTAX"),
        ("- 1\n", ":1:1", "one mapping"),
        ("wait: true\nwait: false\n", ":2:1", "E-DUP-KEY"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_line_and_column(write, text, place, words) -> None:
    with pytest.raises(SettingsError) as caught:
        load(write(text), {}, {})

    assert place in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"RECONCILER_DISPATCH_TOTAL": "many"}, "RECONCILER_DISPATCH_TOTAL: dispatch.total"),
        ({"RECONCILER_DISPATCH_TOTL": "4"}, "did you mean `RECONCILER_DISPATCH_TOTAL`"),
        ({"RECONCILER_POLICY_RULES": "[{"}, "RECONCILER_POLICY_RULES"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(environ, words) -> None:
    with pytest.raises(SettingsError) as caught:
        load(None, environ, {})

    assert words in str(caught.value)


def test_a_mistake_in_a_flag_names_the_flag() -> None:
    with pytest.raises(SettingsError, match=r"flag listen: listen"):
        load(None, {}, {"listen": "nowhere"})


def test_variables_that_are_no_settings_are_left_alone() -> None:
    links = {
        "RECONCILER_SECRET_DB_PASSWORD": "x",
        "RECONCILER_SERVICE_HOST": "10.0.0.1",
        "RECONCILER_PORT_8080_TCP_ADDR": "10.0.0.1",
        "RECONCILER_PORT": "tcp://10.0.0.1:8080",
        "PATH": "/bin",
    }

    assert load(None, links, {}) == load(None, {}, {})


def test_a_file_that_is_not_there_is_an_error(tmp_path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path / "absent.yaml", {}, {})


def test_an_empty_file_says_nothing(write) -> None:
    assert load(write("# nothing yet\n"), {}, {}) == load(None, {}, {})


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("64KiB", 64 << 10), ("10 MiB", 10 << 20), ("1GiB", 1 << 30)])
def test_sizes_are_written_with_units(text, size) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "KiB", "1KB", "-1", "1.5MiB", "1 2"])
def test_other_sizes_are_refused(text) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


def _find(settings: Settings, path: tuple[str, ...]) -> object:
    value: object = settings.model_dump(by_alias=True)
    for part in path:
        assert isinstance(value, dict)
        value = value[part]
    return value
