"""One world for every test: no user's Git configuration, no proxy, no setting of the product from outside."""

import os

from hypothesis import HealthCheck, settings

from tests import nursery

ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "init.defaultBranch",
    "GIT_CONFIG_VALUE_0": "main",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "Ada Author",
    "GIT_AUTHOR_EMAIL": "ada@example.invalid",
    "GIT_COMMITTER_NAME": "Carl Committer",
    "GIT_COMMITTER_EMAIL": "carl@example.invalid",
    "LC_ALL": "C.UTF-8",
    "NO_COLOR": "1",
    "COLUMNS": "120",
}
UNWANTED = ("RECONCILER_", "GIT_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "FORCE_COLOR")
COSTLY = "PYTHONDONTWRITEBYTECODE"  # with it each of some hundred processes compiles the product for itself

settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
)
settings.register_profile("search", deadline=None, max_examples=2_000, suppress_health_check=[HealthCheck.too_slow])


def pytest_configure(config) -> None:
    """Before any test module is imported, so that child processes inherit it too."""
    for name in [name for name in os.environ if name.upper().startswith((*UNWANTED, COSTLY))]:
        del os.environ[name]
    os.environ.update(ENVIRONMENT)
    if not config.getoption("--hypothesis-profile", default=None):
        settings.load_profile("repeatable")


def pytest_unconfigure() -> None:
    nursery.leave()
