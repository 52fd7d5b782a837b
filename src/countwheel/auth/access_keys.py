"""Access keys, made: an id that may be seen, and a secret of 256 random bits that is shown once."""

import base64

from countwheel.clock import Chance

_ID_PREFIX = "CWAK"
_ID_BYTES = 10
_SECRET_BYTES = 32


def new_access_key_id(chance: Chance) -> str:
    """Return an id of 20 letters and digits, as tools that sign requests take it."""
    return _ID_PREFIX + base64.b32encode(chance.token_bytes(_ID_BYTES)).decode()


def new_access_secret(chance: Chance) -> str:
    """Return a secret that cannot be guessed. It has no `/` and no `+`: those are lost in shells and URLs."""
    return base64.urlsafe_b64encode(chance.token_bytes(_SECRET_BYTES)).rstrip(b"=").decode()
