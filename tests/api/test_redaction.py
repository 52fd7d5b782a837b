"""What may stand in the audit log of a document, and what may not."""

import pytest

from countwheel.api.redaction import HIDDEN, redacted


@pytest.mark.parametrize(
    ("document", "shown"),
    [
        ({"name": "a", "labels": {"team": "x"}, "count": 3}, {"name": "a", "labels": {"team": "x"}, "count": 3}),
        ({"client_secret": "s", "client_id": "c"}, {"client_secret": HIDDEN, "client_id": "c"}),
        ({"admin": {"client_secret": "s"}}, {"admin": {"client_secret": HIDDEN}}),
        ({"items": [{"secret": "s"}]}, {"items": [{"secret": HIDDEN}]}),
        (
            {"authorization": {"type": "bearer", "secret": "name"}},
            {"authorization": {"type": "bearer", "secret": HIDDEN}},
        ),
        ({"job_payload": {"any": "thing"}}, {"job_payload": HIDDEN}),
        ({"result": [1], "progress": "half"}, {"result": HIDDEN, "progress": HIDDEN}),
        ({"headers": {"x-a": "v", "x-b": {"secret": "n"}}}, {"headers": {"x-a": HIDDEN, "x-b": {"secret": HIDDEN}}}),
        (
            {"attempts": [{"response_head": "t0ken", "response_headers": {"set-cookie": "s"}, "http_status": 500}]},
            {"attempts": [{"response_head": HIDDEN, "response_headers": {"set-cookie": HIDDEN}, "http_status": 500}]},
        ),
        ({"job_url": "https://h/p?token=x#f"}, {"job_url": f"https://h/p?{HIDDEN}"}),
        ({"job_url": "HTTPS://h/p"}, {"job_url": "https://h/p"}),
        ({"callback": {"cancel_url": "HTTP://h/p?token=x"}}, {"callback": {"cancel_url": f"http://h/p?{HIDDEN}"}}),
        ({"on_failure": "http://[broken"}, {"on_failure": HIDDEN}),
        ("text", "text"),
        (None, None),
    ],
)
def test_what_is_or_may_be_secret_is_hidden(document: object, shown: object) -> None:
    """Secrets by their names, payloads, answers and values of headers whole, of URLs the queries; the rest stays."""
    assert redacted(document) == shown
