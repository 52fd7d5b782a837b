"""Where an issuer's keys are, as its metadata says (OpenID Connect Discovery 1.0 §4, RFC 8414 §3; criterion O5)."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

from countwheel.auth.compact import strict_json
from countwheel.auth.fetching import MAX_DOCUMENT_BYTES, FetchError, Headers, JsonFetcher
from countwheel.auth.jwks import FetchKeys
from countwheel.auth.trust import KeysAt, KeysIn, TrustedIssuer


def key_source(issuer: TrustedIssuer, fetcher: JsonFetcher) -> FetchKeys:
    """Return what brings the issuer's JWK set."""
    match issuer.keys:
        case KeysIn(path):
            return lambda: _read_keys(path)
        case KeysAt(url, bearer_token_file):
            return lambda: _fetch_keys(fetcher, url, bearer_token_file)
        case _:
            return _DiscoveredKeys(issuer, fetcher).fetch


def metadata_urls(issuer: str) -> tuple[str, str]:
    """Return where an issuer's metadata may be: OpenID Connect's place, then that of RFC 8414."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    origin = f"{parts.scheme}://{parts.netloc}"
    return (
        f"{origin}{path}/.well-known/openid-configuration",
        f"{origin}/.well-known/oauth-authorization-server{path}",
    )


def keys_url(metadata: object, issuer: TrustedIssuer) -> str:
    """Return the `jwks_uri` of an issuer's metadata. Raises `FetchError` where it is not this issuer's."""
    if not isinstance(metadata, dict):
        raise FetchError("the metadata is no object")
    if metadata.get("issuer") != issuer.issuer:
        raise FetchError(f"the metadata is that of issuer {metadata.get('issuer')!r:.200}: its own was asked for")
    url = metadata.get("jwks_uri")
    if not isinstance(url, str):
        raise FetchError("the metadata names no jwks_uri")
    if not url.startswith("https://") and not issuer.allow_http:
        raise FetchError(f"the metadata names a jwks_uri that is not https: {url!r:.200}")
    return url


class _DiscoveredKeys:
    """The metadata are read once, and again when the keys cannot be had where they were."""

    def __init__(self, issuer: TrustedIssuer, fetcher: JsonFetcher) -> None:
        self._issuer = issuer
        self._fetcher = fetcher
        self._url: str | None = None

    async def fetch(self) -> object:
        url = self._url or keys_url(await self._metadata(), self._issuer)
        self._url = None
        keys: object = await self._fetcher.get(url)
        self._url = url
        return keys

    async def _metadata(self) -> object:
        faults = []
        for url in metadata_urls(self._issuer.issuer):
            try:
                found: object = await self._fetcher.get(url)
            except FetchError as error:
                faults.append(str(error))
            else:
                return found
        raise FetchError("no metadata: " + "; ".join(faults))


async def _fetch_keys(fetcher: JsonFetcher, url: str, bearer_token_file: Path | None) -> object:
    headers: Headers = ()
    if bearer_token_file is not None:
        token = (await _read(bearer_token_file)).decode("ascii", "replace").strip()
        headers = (("authorization", f"Bearer {token}"),)
    keys: object = await fetcher.get(url, headers)
    return keys


async def _read_keys(path: Path) -> object:
    try:
        keys: object = strict_json(await _read(path))
    except ValueError as error:
        raise FetchError(f"{path}: not JSON: {error}") from error
    return keys


async def _read(path: Path) -> bytes:
    try:
        data = await asyncio.to_thread(path.read_bytes)
    except OSError as error:
        raise FetchError(f"{path}: {error.strerror or error}") from error
    if len(data) > MAX_DOCUMENT_BYTES:
        raise FetchError(f"{path}: longer than {MAX_DOCUMENT_BYTES} bytes")
    return data
