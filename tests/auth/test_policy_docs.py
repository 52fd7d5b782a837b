"""docs/policies.md says what is so: its tables are those of the code, and its examples decide as it says."""

import json
import re
from pathlib import Path

import pytest
from policy_model import ACTIONS, question

from countwheel.auth import conditions, globs, policy_document
from countwheel.auth.policy import decide
from countwheel.auth.policy_document import read_policy

TEXT = (Path(__file__).parents[2] / "docs/policies.md").read_text(encoding="utf-8")
EXAMPLES = re.split(r"^### ", TEXT.partition("## Examples")[2], flags=re.MULTILINE)[1:]


def rows(text: str, header: str) -> list[list[str]]:
    """Return the cells of the table under a header line, without their backquotes."""
    _, _, table = text.partition(f"{header}\n")
    lines = table.splitlines()[1:]
    end = next((number for number, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[:end]]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.splitlines()[0])
def test_a7_each_example_decides_as_it_says(example: str) -> None:
    """A7: every line under an example is a question, and its answer."""
    whole = json.loads(re.findall(r"```json\n(.*?)```", example, re.DOTALL)[0])
    policy = read_policy("example", whole, ACTIONS)
    asked = rows(example, "| Action | Resource | From | Decision |")
    assert len(asked) >= 4
    for action, resource, source, reason in asked:
        about = question(action, resource, None if source == "nobody can tell" else source)
        assert decide([policy], about).reason == reason, (action, resource, source)


def test_a7_there_are_three_examples_and_the_first_document_is_one() -> None:
    """A7: all that the page shows is accepted."""
    assert len(EXAMPLES) == 3
    for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL):
        read_policy("example", json.loads(block), ACTIONS)


def test_a7_the_page_lists_every_element_operator_and_key() -> None:
    """A7: and each operator and key with what it is of."""
    elements = rows(TEXT, "| Element | In | Value |")
    assert [name for name, place, _ in elements if place == "document"] == list(policy_document.DOCUMENT_ELEMENTS)
    assert [name for name, place, _ in elements if place == "statement"] == list(policy_document.STATEMENT_ELEMENTS)
    operators = rows(TEXT, "| Operator | For | Holds where the key |")
    assert {name: kind for name, kind, _ in operators} == {
        name: operator.kind for name, operator in conditions.OPERATORS.items()
    }
    keys = rows(TEXT, "| Key | Is | Value |")
    assert {name: kind for name, kind, _ in keys} == {name: key.kind for name, key in conditions.KEYS.items()}


def test_a7_the_page_gives_the_limits() -> None:
    """A7: as they are in the code."""
    assert [int(limit.split()[0]) for _, limit in rows(TEXT, "| What | At the most |")] == [
        policy_document.MAX_DOCUMENT_BYTES,
        policy_document.MAX_STATEMENTS,
        policy_document.MAX_ACTIONS,
        policy_document.MAX_RESOURCES,
        conditions.MAX_VALUES,
        globs.MAX_PATTERN_CHARACTERS,
        globs.MAX_STARS,
    ]
    assert conditions.MAX_TEXT_CHARACTERS == globs.MAX_PATTERN_CHARACTERS
