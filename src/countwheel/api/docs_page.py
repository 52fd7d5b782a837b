"""`/docs`: the contract to read and to try, on assets that ship with a package; nothing is fetched from elsewhere."""

from functools import cache
from html import escape
from importlib.util import find_spec
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from countwheel.api.parts import ApiParts
from countwheel.api.problems import EXPLANATIONS, TITLES, of_status

_ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {"Content-Security-Policy": _POLICY}
_START = """window.addEventListener("load", () => {
  SwaggerUIBundle({ url: "/openapi.json", dom_id: "#docs", deepLinking: true, validatorUrl: null });
});
"""
_STYLE = "body { font: 1rem/1.5 sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }\n"
_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Countwheel API</title>
<link rel="icon" href="/docs/assets/favicon-32x32.png"><link rel="stylesheet" href="/docs/assets/swagger-ui.css"></head>
<body><div id="docs"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script><script src="/docs/assets/start.js"></script></body>
</html>
"""
_PROBLEM_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title} - Countwheel</title>
<link rel="stylesheet" href="/docs/assets/problem.css"></head>
<body><p><a href="/docs">Countwheel API</a> / problems</p><h1>{title}</h1><p><code>/docs/problems/{kind}</code></p>
<p>{explanation}</p></body>
</html>
"""
_MADE_HERE = {"start.js": (_START, "text/javascript"), "problem.css": (_STYLE, "text/css")}


async def show_docs(_api: ApiParts, _request: Request) -> Response:
    """`GET /docs`."""
    return HTMLResponse(_PAGE, headers=_HEADERS)


async def show_contract(api: ApiParts, _request: Request) -> Response:
    """`GET /openapi.json`."""
    return Response(api.contract.json, media_type="application/json")


async def show_asset(_api: ApiParts, request: Request) -> Response:
    """`GET /docs/assets/{name}`: one of a closed list of files."""
    name = str(request.path_params["name"])
    if name in _MADE_HERE:
        content, media_type = _MADE_HERE[name]
        return Response(content, media_type=media_type)
    if name not in _ASSETS:
        raise of_status(404)
    return Response(_content(name), media_type=_ASSETS[name], headers={"Cache-Control": "public, max-age=86400"})


async def show_problem(_api: ApiParts, request: Request) -> Response:
    """`GET /docs/problems/{kind}`: what a problem's `type` leads to."""
    kind = str(request.path_params["kind"])
    if kind not in TITLES:
        raise of_status(404)
    page = _PROBLEM_PAGE.format(kind=escape(kind), title=escape(TITLES[kind]), explanation=escape(EXPLANATIONS[kind]))
    return HTMLResponse(page, headers=_HEADERS)


@cache
def _content(name: str) -> bytes:
    # Found, not imported: the package's own code is for other frameworks, and importing it takes a tenth of a second.
    spec = find_spec("swagger_ui")
    if spec is None or spec.origin is None:
        raise AssertionError("swagger-ui-py is a dependency of ours")
    return (Path(spec.origin).parent / "static" / name).read_bytes()
