"""The schema is the sum of its migrations, and a person can read it in one file."""

import sqlite3
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import pytest

from state import rows
from state.database import APPLICATION_ID, VERSION
from state.migrations import MIGRATIONS, migrate

GOLDEN = Path(__file__).with_name("schema.sql")
STATEMENTS = "SELECT sql || ';' FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
TABLES = [value for value in vars(rows).values() if isinstance(value, rows.Table)]


@pytest.fixture
def connection(tmp_path):
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as opened:
        migrate(opened, tmp_path / "state.db")
        yield opened


def test_the_schema_is_the_sum_of_the_migrations(connection):
    """To accept a new migration: put what this prints into schema.sql."""
    schema = "\n".join(text for (text,) in connection.execute(STATEMENTS)) + "\n"
    print(schema)
    assert schema == GOLDEN.read_text()


def test_the_version_is_the_number_of_migrations(connection):
    assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert len(MIGRATIONS._migrations) == VERSION


def test_every_table_of_ours_is_strict(connection):
    listed = connection.execute("SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND type = 'table'")
    assert {name for name, strict in listed if not strict and not name.startswith(("sqlite_", "_sqlite_"))} == set()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_field_of_a_record_has_its_column(connection, table):
    columns = {name for _, name, *_ in connection.execute(f"PRAGMA table_info({table.name})")}
    assert {each.name for each in fields(table._record)} <= columns
    assert connection.execute(f"SELECT {table.columns} FROM {table.name}").fetchall() == []


def test_the_trigger_guards_every_column_of_an_attempt(connection):
    ((trigger,),) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'attempts_are_final'")
    unguarded = {
        name for name in rows.ATTEMPTS.names if f"OLD.{name}," not in trigger and f"OLD.{name})" not in trigger
    }
    assert unguarded == {"cleanup"}


def test_the_lists_of_the_read_side_use_an_index(connection):
    lists = {
        "SELECT * FROM tasks WHERE live = 1 ORDER BY number": "tasks_live",
        "SELECT * FROM tasks WHERE state = 'RUNNING' ORDER BY created_at DESC, number DESC": "tasks_state_created",
        "SELECT * FROM tasks WHERE namespace = 'a' ORDER BY created_at DESC, number DESC": "tasks_namespace_created",
        "SELECT * FROM tasks WHERE target = 'a' ORDER BY created_at DESC, number DESC": "tasks_target_created",
        "SELECT * FROM tasks ORDER BY due, number": "tasks_due",
        "SELECT uid, at FROM wakes ORDER BY at LIMIT 10": "wakes_at",
        "SELECT DISTINCT uid FROM attempts WHERE ended_at IS NULL": "attempts_unfinished",
        "SELECT * FROM events WHERE uid = 'a' AND sequence > 5 ORDER BY sequence": "events_task",
    }
    used = {text: connection.execute(f"EXPLAIN QUERY PLAN {text}").fetchall() for text in lists}
    assert {text: name for text, name in lists.items() if not any(name in line[-1] for line in used[text])} == {}
    assert [text for text, lines in used.items() if any("TEMP B-TREE" in line[-1] for line in lines)] == []
