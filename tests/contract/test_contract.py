"""The document that is published is the API that is served."""

import re
from typing import Any

import jsonschema_rs
import pytest

from countwheel.api.app import OPERATIONS
from countwheel.api.contract import load_contract
from countwheel.api.problems import EXPLANATIONS, TITLES
from countwheel.api.routing import Open, Signed
from countwheel.auth.actions import ACTIONS
from countwheel.auth.principal import ALL_SCOPES
from countwheel.domain.job import JobStatus
from countwheel.domain.run import RunStatus, Trigger
from harness import Node

DOCUMENT = load_contract().document
SCHEMAS = DOCUMENT["components"]["schemas"]
METHODS = {"get", "post", "put", "patch", "delete"}
UNDOCUMENTED = {"/openapi.json", "/docs", "/docs/assets/{name}", "/docs/problems/{kind}"}
"""The documentation itself."""


def _documented() -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (path, method.upper()): operation
        for path, item in DOCUMENT["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


def _examples(node: Any, at: str = "#") -> list[tuple[str, Any, Any]]:
    """Return (where, schema, value) of every example of a media type below a part of the document."""
    found = []
    if isinstance(node, dict):
        if "schema" in node:
            found += [
                (f"{at}/examples/{name}", node["schema"], example["value"])
                for name, example in node.get("examples", {}).items()
            ]
        for key, child in node.items():
            found += _examples(child, f"{at}/{key}")
    return found


EXAMPLES = _examples(DOCUMENT["paths"], "paths") + _examples(DOCUMENT["components"]["responses"], "responses")


def test_every_operation_is_documented() -> None:
    """What is served and what is documented are the same, but for the documentation itself."""
    served = {(path, method) for path, methods in OPERATIONS.items() if path not in UNDOCUMENTED for method in methods}
    assert served == _documented().keys()


def test_every_scope_is_documented() -> None:
    """An operation asks for the scope that the document names, and open ones say that they are open."""
    for (path, method), operation in _documented().items():
        served = OPERATIONS[path][method]
        expected = [] if isinstance(served, Open) else [{"oauth": [ACTIONS[served.action]]}, {"signature": []}]
        expected += [{"callback": []}] if isinstance(served, Signed) else []
        assert operation["security"] == expected, (method, path)
    flows = DOCUMENT["components"]["securitySchemes"]["oauth"]["flows"]
    assert flows["clientCredentials"]["scopes"].keys() == ALL_SCOPES


def test_enumerations_are_those_of_the_domain() -> None:
    """The states and triggers of the document are the code's."""
    assert SCHEMAS["JobStatus"]["enum"] == list(JobStatus)
    assert SCHEMAS["RunStatus"]["enum"] == list(RunStatus)
    assert SCHEMAS["Run"]["properties"]["trigger"]["enum"] == list(Trigger)


@pytest.mark.parametrize(("schema", "value"), [example[1:] for example in EXAMPLES], ids=[e[0] for e in EXAMPLES])
def test_examples_are_valid(schema: Any, value: Any) -> None:
    """Every example in the document is what its own schema says."""
    root = schema | {"components": DOCUMENT["components"]}
    jsonschema_rs.Draft202012Validator(root).validate(value)


def test_every_refusal_is_a_problem() -> None:
    """E1: every 4xx and 5xx in the document is application/problem+json."""
    for (path, method), operation in _documented().items():
        for status, response in operation["responses"].items():
            if status >= "400":
                name = response.get("$ref", "").rpartition("/")[2]
                content = (DOCUMENT["components"]["responses"][name] if name else response)["content"]
                assert content.keys() == {"application/problem+json"}, (method, path, status)


async def test_every_problem_type_leads_somewhere(node: Node) -> None:
    """The `type` of each problem is a page that explains it."""
    assert TITLES.keys() == EXPLANATIONS.keys()
    for kind, title in TITLES.items():
        answer = await node.api.call("GET", f"/docs/problems/{kind}")
        assert answer.status == 200
        assert re.search(f"<h1>{re.escape(title).replace(chr(39), '&#x27;')}</h1>", answer.body.decode())
    assert (await node.api.call("GET", "/docs/problems/none")).status == 404


async def test_the_document_is_served(node: Node) -> None:
    """/openapi.json is the contract, and /docs reads it without a foreign host."""
    assert (await node.api.call("GET", "/openapi.json")).json == DOCUMENT
    page = (await node.api.call("GET", "/docs")).body.decode()
    assets = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert assets
    for asset in assets:
        assert asset.startswith("/docs/assets/")
        answer = await node.api.call("GET", asset)
        assert answer.status == 200
        if asset.endswith("bundle.js"):
            assert b"oas31" in answer.body, "this Swagger UI cannot show an OpenAPI 3.1 document"
