"""The account that PostgreSQL runs as: our own, or, where we are root, one that is not."""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from countwheel.embedded.errors import EmbeddedPostgresError

_SERVICE_ACCOUNT = "nobody"
_OTHERS_MAY_ENTER = 0o001


@dataclass(frozen=True, slots=True)
class Account:
    """A user and group id. `is_other` tells that it is not the one that we run as."""

    uid: int
    gid: int
    is_other: bool

    def own(self, path: Path) -> None:
        """Make a directory that exists the account's own, for it alone."""
        path.chmod(0o700)
        if self.is_other:
            os.chown(path, self.uid, self.gid)

    def can_reach(self, path: Path) -> bool:
        """Whether the account can come to `path` by itself, as far as the permissions of its parents tell."""
        return not self.is_other or all(self._may_enter(parent.stat()) for parent in path.absolute().parents)

    def _may_enter(self, directory: os.stat_result) -> bool:
        return directory.st_uid == self.uid or bool(directory.st_mode & _OTHERS_MAY_ENTER)


def choose_account(cluster: Path) -> Account:
    """Return who PostgreSQL runs as: whoever owns an existing cluster, else `nobody` where we are root.

    Raises `EmbeddedPostgresError` where we are root and there is no such account.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), is_other=False)
    if cluster.exists() and (owner := cluster.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid, is_other=True)
    try:
        entry = pwd.getpwnam(_SERVICE_ACCOUNT)
    except KeyError as error:
        raise EmbeddedPostgresError(
            f"PostgreSQL does not run as root, and there is no account {_SERVICE_ACCOUNT}: start as an ordinary user"
        ) from error
    return Account(entry.pw_uid, entry.pw_gid, is_other=True)
