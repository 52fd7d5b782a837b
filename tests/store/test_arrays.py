"""Arrays in the binary format: what is sent is what PostgreSQL reads."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.sql import SQL

from countwheel.store.arrays import ARRAYS

CASTS = {
    bool: SQL("boolean[]"),
    bytes: SQL("bytea[]"),
    int: SQL("int8[]"),
    str: SQL("text[]"),
    float: SQL("float8[]"),
    datetime: SQL("timestamptz[]"),
    UUID: SQL("uuid[]"),
}
VALUES: dict[type, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    bytes: st.binary(max_size=40),
    int: st.integers(-(2**63), 2**63 - 1),
    str: st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40),
    float: st.floats(allow_nan=False),
    datetime: st.datetimes(datetime(1970, 1, 1), datetime(9990, 1, 1), timezones=st.just(UTC)),
    UUID: st.uuids(),
}


@pytest.mark.parametrize("held", ARRAYS, ids=lambda held: held.__name__)
def test_what_is_sent_is_read(held: type, dsn: str) -> None:
    """A column of any type, NULLs included, comes back from PostgreSQL as it was."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        question = SQL("SELECT unnest(%s::{})").format(CASTS[held])

        @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
        @given(st.lists(st.none() | VALUES[held], max_size=8))
        def comes_back(values: list[Any]) -> None:
            found = connection.execute(question, [ARRAYS[held](values)]).fetchall()
            assert [row[0] for row in found] == values

        comes_back()


def test_a_number_that_does_not_fit_is_refused(dsn: str) -> None:
    """The statement's cast says how wide a column is: what is wider is an error, not another number."""
    with psycopg.connect(dsn, autocommit=True) as connection, pytest.raises(psycopg.DataError):
        connection.execute("SELECT %s::int2[]", [ARRAYS[int]([40_000])])
