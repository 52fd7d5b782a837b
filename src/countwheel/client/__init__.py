"""The Python SDK: what a program needs to schedule calls. It imports nothing else from Countwheel."""

from countwheel.client.api import ApiError, Countwheel
from countwheel.client.credentials import Credentials, CredentialsError

__all__ = ["ApiError", "Countwheel", "Credentials", "CredentialsError"]
