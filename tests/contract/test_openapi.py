"""The API keeps what its OpenAPI document promises, for whatever is asked within it and beside it."""

import os
from datetime import UTC, datetime, timedelta

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import sampled_from, sets, text
from schemathesis.specs.openapi.checks import positive_data_acceptance

from reconciler.api.app import create
from state.logs import Logs
from tests.read_side import grade_class


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    world = grade_class(tmp_path_factory.mktemp("state"))
    world.trigger("grade-alice", {"cron": "0 2 * * *"})
    (world.folder / "heartbeat").touch()
    later = (datetime.now(UTC) + timedelta(hours=1)).timestamp()  # the last operation may be asked long after the first
    os.utime(world.folder / "heartbeat", (later, later))
    Logs(world.folder / "logs").log(world.store.live()[0], "step1", 1).write(b"hello\n")
    yield schemathesis.openapi.from_asgi("/openapi.json", create(world.folder), headers={"Host": "localhost"})
    world.close()


KNOWN = {"namespace": "demo", "name": "grade-alice", "path": "step1", "number": 1}


def test_every_operation_answers_as_documented(schema):
    statuses = set()
    for each in schema.get_all_operations():
        operation = each.ok()

        @settings(max_examples=25, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(), known=sets(sampled_from(sorted(KNOWN))))
        def answers(case, known):
            case.path_parameters |= {name: KNOWN[name] for name in known if name in case.path_parameters}
            case.headers["Host"] = "localhost"
            case.query.pop("follow", None)  # a stream does not end
            # a cursor is any text to the schema, and one that no list gave out is refused
            answer = case.call_and_validate(excluded_checks=[positive_data_acceptance])
            statuses.add((case.operation.definition.raw["operationId"], answer.status_code))

        answers()

    missed = {each.ok().definition.raw["operationId"] for each in schema.get_all_operations()} - {
        name for name, status in statuses if status == 200
    }
    assert missed == set()


@pytest.mark.parametrize("name", ["limit", "cursor", "state", "sort", "label", "after", "run", "tail", "attempt"])
def test_nonsense_in_a_parameter_is_refused_and_never_an_error_of_the_server(schema, name):
    """Those that have no such parameter let it pass, whatever it is."""
    for each in schema.get_all_operations():
        operation = each.ok()
        examples = 10 if name in {parameter.name for parameter in operation.query} else 1

        @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(), value=text(min_size=1))
        def answers(case, value):
            case.headers["Host"] = "localhost"
            case.query = {name: value}
            assert case.call().status_code < 500

        answers()


def test_every_operation_has_an_id_and_a_summary_and_only_reads(schema):
    operations = [
        (path, method, operation)
        for path, methods in schema.raw_schema["paths"].items()
        for method, operation in methods.items()
    ]

    assert {method for _, method, _ in operations} == {"get"}
    assert len({operation["operationId"] for _, _, operation in operations}) == len(operations) >= 16
    assert all(operation["summary"] for _, _, operation in operations)


def test_every_parameter_of_the_lists_is_documented(schema):
    parameters = {each["name"] for each in schema.raw_schema["paths"]["/api/v1/tasks"]["get"]["parameters"]}

    assert parameters == {"limit", "cursor", "namespace", "state", "label", "workflow", "sort"}
