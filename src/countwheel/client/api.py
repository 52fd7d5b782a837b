"""Calls to Countwheel's HTTP API, synchronous, with the standard library alone."""

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from countwheel.client.credentials import Credentials

_TIMEOUT_SECONDS = 30.0


class ApiError(Exception):
    """The server refused, or could not be reached. `problem` is its problem document (RFC 9457), empty if none came."""

    def __init__(self, status: int, problem: dict[str, Any], message: str) -> None:
        super().__init__(message)
        self.status = status
        self.problem = problem


class Countwheel:
    """A client of one server.

    A submission that is repeated with the same `idempotency_key` creates one job, whatever became of the first answer.
    """

    def __init__(self, credentials: Credentials, *, scope: str | None = None) -> None:
        self._credentials = credentials
        self._scope = scope
        self._token = ""

    def fetch_token(self) -> str:
        """Return a fresh access token (RFC 6749, client credentials). Raises `ApiError`."""
        form = {"grant_type": "client_credentials"} | ({"scope": self._scope} if self._scope else {})
        pair = ":".join(
            urllib.parse.quote(part, safe="") for part in (self._credentials.client_id, self._credentials.client_secret)
        )
        answer = self._send(
            "POST",
            "/oauth/token",
            urllib.parse.urlencode(form).encode(),
            {
                "Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}",
                "Content-Type": "application/x-www-form-urlencoded",
            },
        )
        return str(answer["access_token"])

    def create_job(self, job: dict[str, Any], *, idempotency_key: str | None = None) -> dict[str, Any]:
        """Submit a job (the body of `POST /v1/jobs`) and return it as created. Raises `ApiError`."""
        headers = {"Idempotency-Key": f'"{idempotency_key}"'} if idempotency_key else {}
        return self.call("POST", "/v1/jobs", job, headers)

    def find_job(self, job_id: str) -> dict[str, Any]:
        """Return a job. Raises `ApiError`, status 404 if there is none."""
        return self.call("GET", f"/v1/jobs/{job_id}")

    def delete_job(self, job_id: str) -> dict[str, Any]:
        """Delete a job; its live run is cancelled. Raises `ApiError`."""
        return self.call("DELETE", f"/v1/jobs/{job_id}")

    def find_run(self, job_id: str, run_id: str) -> dict[str, Any]:
        """Return a run. Raises `ApiError`, status 404 if there is none."""
        return self.call("GET", f"/v1/jobs/{job_id}/run/{run_id}/")

    def cancel_run(self, job_id: str, run_id: str) -> str:
        """Cancel or delete a run and return `CANCELED` or `DELETE`. Raises `ApiError`."""
        return str(self.call("DELETE", f"/v1/jobs/{job_id}/run/{run_id}/")["status"])

    def call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Call any operation, with a token that is fetched when needed. Raises `ApiError`."""
        self._token = self._token or self.fetch_token()
        data = None if body is None else json.dumps(body).encode()
        extra = {"Authorization": f"Bearer {self._token}"} | ({"Content-Type": "application/json"} if data else {})
        return self._send(method, path, data, extra | (headers or {}))

    def _send(self, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> dict[str, Any]:
        url = self._credentials.url + path
        if not url.startswith(("http://", "https://")):
            raise ApiError(0, {}, f"{self._credentials.url} is not the URL of a server: give http:// or https://")
        request = urllib.request.Request(url, data=data, headers=headers, method=method)  # noqa: S310 (http and https alone)
        # No proxies from the environment: the server is where the credentials say it is.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_TIMEOUT_SECONDS) as response:
                document: dict[str, Any] = json.load(response)
                return document
        except urllib.error.HTTPError as error:
            with error:
                raise _api_error(error.code, error.read()) from error
        except OSError as error:
            raise ApiError(
                0, {}, f"cannot reach {self._credentials.url}: {error}; is `countwheel dev` running?"
            ) from error


def _api_error(status: int, body: bytes) -> ApiError:
    try:
        problem = json.loads(body)
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    return ApiError(status, problem, f"{status} {problem.get('title', '')}: {problem.get('detail', '')}".strip(": "))
