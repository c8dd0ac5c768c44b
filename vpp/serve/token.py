"""The token that opens the API and the page, and the cookie that a browser gets for it.

It is that of `[serve] token` or `VPP_SERVE_TOKEN`. Where these give none it is made at the first
start, in a file of the state folder that only its owner may read.

    python serve.py --show-token
"""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from vpp.runtime.errors import ConfigError
from vpp.runtime.settings import Config
from vpp.runtime.tables import shown

NAME = "serve.token"
LEAST_CHARACTERS = 20


def read_token(config: Config) -> str:
    """The token; it is made where there is none.

    Parameters
    ----------
    config : gives the token, or names the state folder.

    Raises
    ------
    ConfigError : what is given is no token; the file cannot be read or made, others may read it, or
        it holds no token.
    """
    if given := config.serve.token:
        if not _is_token(given):
            raise ConfigError(
                f"[serve] token = (hidden): expected {LEAST_CHARACTERS} printable characters of"
                " ASCII or more"
            )
        return given
    path = config.paths.state_dir / NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _make(path)
        mode, text = path.stat().st_mode, path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        mode, text = 0, ""
    except OSError as error:
        raise ConfigError(
            f"{shown(path)}: {error.strerror}; the token needs a file that this user may write"
        ) from None
    if mode & 0o077:
        raise ConfigError(f"{shown(path)}: others may read the token; run chmod 600 {shown(path)}")
    if not _is_token(text):
        raise ConfigError(
            f"{shown(path)}: expected a token of {LEAST_CHARACTERS} characters or more; delete the "
            "file, and a new one is made"
        )
    return text


def _is_token(text: str) -> bool:
    return len(text) >= LEAST_CHARACTERS and text.isascii() and text.isprintable()


def _make(path: Path) -> None:
    """Make the file whole or not at all: of two first starts at once one makes it."""
    if path.exists():
        return
    partial = path.with_name(f".{NAME}-{secrets.token_hex(8)}")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        os.link(partial, path)
    except FileExistsError:
        pass  # the other one was first
    finally:
        partial.unlink()


def is_same(given: str, expected: str) -> bool:
    """Tell whether two secrets are the same, in a time that does not tell how far they agree.

    Parameters
    ----------
    given : as it came.
    expected : the secret.
    """
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def cookie_of(token: str) -> tuple[str, str]:
    """Name and value of the cookie that opens the page; neither tells the token.

    Browsers give the cookies of a host to all of its ports, so each server's has its own name.

    Parameters
    ----------
    token : of the server.
    """
    name, value = (
        hmac.new(token.encode(), about, hashlib.sha256).hexdigest() for about in (b"name", b"page")
    )
    return f"vpp_{name[:8]}", value
