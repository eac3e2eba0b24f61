"""Who runs the private PostgreSQL: PostgreSQL refuses root, so root needs another account or a user namespace."""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicomweb_archive.errors import SetupError

# `postgres` first: nothing else runs as it, while several daemons may share `nobody`.
_PREFERRED = ("postgres", "nobody", "daemon")


@dataclass(frozen=True, slots=True)
class Account:
    """An account under which PostgreSQL's programs run.

    Attributes:
        uid, gid: its ids, which own the data folder of the cluster.
        drop: we are root and give up our privileges for it.
        namespace: we are root and stay the owner outside of a user namespace in which we are this account.
    """

    uid: int
    gid: int
    drop: bool = False
    namespace: bool = False

    @property
    def owner(self) -> tuple[int, int]:
        """User and group that own the files as seen from here."""
        return (os.geteuid(), os.getegid()) if self.namespace else (self.uid, self.gid)

    def command(self, *words: str | Path) -> list[str]:
        """Return the command line that runs `words` under this account."""
        line = [str(word) for word in words]
        if not self.namespace:
            return line
        return ["unshare", "--user", f"--map-user={self.uid}", f"--map-group={self.gid}", *line]

    def process_options(self) -> dict[str, Any]:
        """Return the arguments of `subprocess.Popen` that go with `command`."""
        options: dict[str, Any] = {"cwd": "/", "env": _environment(), "stdin": subprocess.DEVNULL}
        if self.drop:
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return options

    def can_run(self, *words: str | Path) -> bool:
        """Say whether this account can run the command, by running it."""
        try:
            done = subprocess.run(  # noqa: S603 - our own command lines
                self.command(*words), capture_output=True, check=False, timeout=60, **self.process_options()
            )
        except OSError:
            return False
        return done.returncode == 0

    def can_reach(self, folder: Path) -> bool:
        """Say whether this account may pass through every folder of the path."""
        return self.can_run("/bin/sh", "-c", 'cd "$1"', "sh", folder)

    def own(self, folder: Path) -> None:
        """Make the folder this account's alone; only the folder itself, never its parents."""
        if self.drop:
            os.chown(folder, *self.owner)
        folder.chmod(0o700)


def choose_account(installation: Path, cluster: Path) -> Account:
    """Choose the account that runs the programs of `installation` on the folder `cluster`.

    An existing cluster keeps its owner. As root, in this order: a user without privileges who can reach both;
    a user namespace, in which nothing needs to change hands; a user who can reach the data, so that a copy of
    the programs beside it is enough.

    Raises:
        SetupError: there is none; the message says the way out.
    """
    if os.geteuid() != 0:
        return _ourselves()
    users = _candidates(cluster)
    initdb = installation / "bin" / "initdb"
    reaching = [user for user in users if user.can_reach(cluster.parent)]
    for user in reaching:
        if user.can_run(initdb, "--version"):
            return user
    if users and shutil.which("unshare"):
        inside = Account(users[0].uid, users[0].gid, namespace=True)
        if _owned_by(cluster, (None, 0)) and inside.can_run(initdb, "--version"):
            return inside
    if reaching:
        return reaching[0]
    message = (
        f"PostgreSQL does not run as root, and no other user can reach {cluster.parent}. Choose a data folder "
        "whose parents are open to others (chmod o+x), run the archive as an ordinary user, or set "
        "DICOMWEB_ARCHIVE_DATABASE_URL to a server of your own"
    )
    raise SetupError(message)


def _ourselves() -> Account:
    uid = os.geteuid()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        message = (
            f"User id {uid} has no entry in the user database (/etc/passwd), and PostgreSQL needs one. Run the "
            "archive under a user that has one, or set DICOMWEB_ARCHIVE_DATABASE_URL to a server of your own"
        )
        raise SetupError(message) from None
    return Account(uid, entry.pw_gid)


def _candidates(cluster: Path) -> list[Account]:
    """Return the users that may run the cluster: its owner alone when it has one that is not root."""
    if cluster.exists() and (owner := cluster.stat().st_uid) != 0:
        try:
            return [Account(owner, pwd.getpwuid(owner).pw_gid, drop=True)]
        except KeyError:
            message = f"{cluster} belongs to user id {owner}, which is not in the user database (/etc/passwd)"
            raise SetupError(message) from None
    users = []
    for name in _PREFERRED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        users.append(Account(entry.pw_uid, entry.pw_gid, drop=True))
    return users


def _owned_by(folder: Path, uids: tuple[int | None, ...]) -> bool:
    return (folder.stat().st_uid if folder.exists() else None) in uids


def _environment() -> dict[str, str]:
    # PGDATA, PGOPTIONS and the like of the operator's shell are meant for other servers.
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
    return {"PATH": os.defpath, "LC_ALL": "C", "HOME": "/", **kept}
