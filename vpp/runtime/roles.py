"""Who may use the embedded PostgreSQL, and as whom.

The server takes nobody's word: the kernel says who connects (peer), and only the caller and root
may. Scripts connect as the role vpp, which is no superuser. Where root starts it, it runs as the
system user vpp-postgres, whom no other program runs as.

    python embedded.py status
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from vpp.runtime.places import EmbeddedError, Places

ADMIN, ROLE = "vpp_admin", "vpp"  # the server's own superuser, and the role of the scripts
ROLE_BEFORE = "vpp_before"  # vpp of an earlier version, which was the superuser
# All that a role owns in a database, as the beginnings of statements that change it. A sequence of
# a column goes with its table.
OWNED = """
    SELECT format('ALTER SCHEMA %%I', nspname) FROM pg_namespace
    WHERE nspowner = %(before)s::regrole AND nspname !~ '^pg_|^information_schema$'
    UNION ALL
    SELECT format('ALTER TABLE %%s', oid::regclass) FROM pg_class
    WHERE relowner = %(before)s::regrole AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
        AND relnamespace::regnamespace::text !~ '^pg_|^information_schema$'
        AND NOT EXISTS (SELECT FROM pg_depend
            WHERE objid = pg_class.oid AND relkind = 'S' AND deptype IN ('a', 'i'))
    UNION ALL
    SELECT format('ALTER ROUTINE %%s', oid::regprocedure) FROM pg_proc
    WHERE proowner = %(before)s::regrole
        AND pronamespace::regnamespace::text !~ '^pg_|^information_schema$'
    UNION ALL
    SELECT format('ALTER TYPE %%s', oid::regtype) FROM pg_type
    WHERE typowner = %(before)s::regrole AND typtype IN ('e', 'd')
        AND typnamespace::regnamespace::text !~ '^pg_|^information_schema$'"""


def own_user(name: str) -> pwd.struct_passwd:
    """The system user that PostgreSQL runs as, made where it is missing; root calls this.

    Raises
    ------
    EmbeddedError : it cannot be made.
    """
    program = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    options = ("--system", "--no-create-home", "--home-dir", "/nonexistent")
    with suppress(KeyError):
        return pwd.getpwnam(name)
    if program:
        command = [program, *options, "--shell", "/usr/sbin/nologin", name]
        subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise EmbeddedError(
            f"PostgreSQL does not run as root, and the system user {name} could not be made; run "
            f"useradd --system {name}, or run as an ordinary user"
        ) from None


def hand_over(data: Path, account: pwd.struct_passwd) -> None:
    """Give the data folder to PostgreSQL's user; an earlier version ran it as nobody.

    Parameters
    ----------
    data : the folder.
    account : the user.
    """
    if data.stat().st_uid == account.pw_uid:
        return
    for folder, _, files in os.walk(data, topdown=False):
        for name in files:
            os.lchown(os.path.join(folder, name), account.pw_uid, account.pw_gid)
        os.lchown(folder, account.pw_uid, account.pw_gid)


def write_access(places: Places) -> dict[str, str]:
    """Say who may connect: the caller and root, as any role; settings that name the two files.

    Raises
    ------
    EmbeddedError : the caller has no name.
    """
    try:
        me = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise EmbeddedError(
            f"the user {os.geteuid()} has no name, by which PostgreSQL would know it; add it to "
            "/etc/passwd"
        ) from None
    texts = {
        "hba_file": "local all all peer map=owner\n",
        "ident_file": "".join(f'owner "{name}" all\n' for name in sorted({"root", me})),
    }
    settings = {}
    for key, text in texts.items():
        path = places.postgres / f"pg_{key.removesuffix('_file')}.conf"
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(0o600)
        if places.user:
            account = pwd.getpwnam(places.user)
            os.chown(path, account.pw_uid, account.pw_gid)
        settings[key] = str(path)
    return settings


def make_admin(cursor: Any) -> None:
    """Make the server's own superuser in a data folder of an earlier version, which has none.

    Parameters
    ----------
    cursor : of the role of the scripts; nothing happens where that is no superuser.
    """
    cursor.execute(
        "SELECT rolsuper AND to_regrole(%s) IS NULL FROM pg_roles WHERE rolname = current_user",
        (ADMIN,),
    )
    if cursor.fetchone() == (True,):
        cursor.execute(f"CREATE ROLE {ADMIN} SUPERUSER LOGIN")


def make_role(cursor: Any, connect: Callable[[str], Any]) -> None:
    """Make the role of the scripts, which is no superuser, and its database.

    In a data folder of an earlier version that role was the superuser which initdb makes, and which
    cannot be less: it gets another name, and all that it owned goes to the new one.

    Parameters
    ----------
    cursor : of the superuser.
    connect : connects the superuser to a database.
    """
    rights = f"CREATE ROLE {ROLE} LOGIN CREATEDB CREATEROLE"
    cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", (ROLE,))
    found = cursor.fetchone()
    if found is None:
        cursor.execute(rights)
    elif found[0]:
        rename = f"ALTER ROLE {ROLE} RENAME TO {ROLE_BEFORE}"
        cursor.execute(f"BEGIN; {rename}; {rights}; ALTER ROLE {ROLE_BEFORE} NOLOGIN; COMMIT")
    cursor.execute(
        """
        SELECT datname FROM pg_database JOIN pg_roles ON pg_roles.oid = datdba
        WHERE rolname = %s AND datname NOT IN ('postgres', 'template0', 'template1')""",
        (ROLE_BEFORE,),
    )
    for (database,) in cursor.fetchall():
        with closing(connect(database)) as other, other.cursor() as inner:
            inner.execute(OWNED, {"before": ROLE_BEFORE})
            for (statement,) in inner.fetchall():
                inner.execute(f"{statement} OWNER TO {ROLE}")
            inner.execute(f'ALTER DATABASE "{database}" OWNER TO {ROLE}')
    cursor.execute("SELECT 1 FROM pg_database WHERE datname = 'vpp'")
    if not cursor.fetchone():
        cursor.execute(f"CREATE DATABASE vpp OWNER {ROLE}")
