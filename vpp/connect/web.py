"""A provider's web service: asked politely, its raw answers kept with their time.

Too many requests (429) and faults of the server (5xx) are tried again, after the time that the
answer names. Whatever else is wrong ends in one line that names provider, address and cause; no
key is in it, nor in what is kept.

    python sources.py fetch open-meteo --from 2025-01-01 --to 2025-01-31
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpp.runtime.errors import VppError
from vpp.runtime.files import replacing_file
from vpp.runtime.words import in_words, printable

if TYPE_CHECKING:
    import requests
    from tenacity import RetryCallState

ATTEMPTS = 5
RETRY_S = 1.0  # first wait where the answer names none; doubled each time
RETRY_MAX_S = 60.0  # an answer that asks to wait longer is taken as a refusal
TIMEOUT_S = 60.0
MOST_BYTES = 64_000_000  # of one answer; a year of quarter-hours is less than 2 MB
SHOWN = 120  # characters of an answer that a message quotes


class ProviderError(VppError):
    """A provider that cannot be reached, refuses, or answers with something else."""


class _Again(Exception):
    """An answer that is worth another try."""

    def __init__(self, cause: str, after_s: float | None = None) -> None:
        super().__init__(cause)
        self.after_s = after_s


@dataclass(frozen=True)
class Web:
    """The web service of one provider.

    Parameters
    ----------
    provider : its name.
    base_url : that all paths are below; `{host}` stands for the first part of the path.
    cache : folder of its raw answers; None keeps none.
    cache_h : a kept answer is used for so many hours [h].
    secrets : parameters of every request that are neither shown nor kept, such as a key.
    """

    provider: str
    base_url: str
    cache: Path | None = None
    cache_h: float = 0.0
    secrets: Mapping[str, str] = field(default_factory=dict)

    def json(self, path: str, parameters: Mapping[str, Any]) -> Any:
        """The answer to a request, as JSON.

        Parameters
        ----------
        path : below the base URL.
        parameters : of the request.

        Raises
        ------
        ProviderError : there is no answer, a refusal, or no JSON.
        """
        return self._ask(path, parameters, json.loads)

    def text(self, path: str, parameters: Mapping[str, Any]) -> str:
        """The answer to a request, as text.

        Parameters
        ----------
        path : below the base URL.
        parameters : of the request.

        Raises
        ------
        ProviderError : there is no answer, or a refusal.
        """
        return self._ask(path, parameters, str)

    def refusal(self, cause: str) -> ProviderError:
        """The error that names provider and cause."""
        return ProviderError(f"{self.provider} ({self.base_url}): {printable(cause)}")

    @cached_property
    def _session(self) -> "requests.Session":
        import requests

        session = requests.Session()
        session.headers["User-Agent"] = "virtual-power-plant"
        return session

    def _ask(self, path: str, parameters: Mapping[str, Any], read: Callable[[str], Any]) -> Any:
        url = self._url(path)
        kept = self._kept(url, parameters)
        if kept is not None and kept.exists():
            answer = json.loads(kept.read_text(encoding="utf-8"))
            if time.time() - answer["fetched_at"] < self.cache_h * 3600:
                return read(answer["text"])
        text, found = self._tried(url, parameters, read)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            answer = {"url": url, "parameters": dict(parameters), "fetched_at": time.time()}
            with replacing_file(kept) as partial:
                partial.write_text(json.dumps(answer | {"text": text}), encoding="utf-8")
        return found

    def _url(self, path: str) -> str:
        base = self.base_url.rstrip("/")
        if "{host}" in base:  # a provider of several hosts: the first part of the path names one
            host, _, path = path.partition("/")
            base = base.replace("{host}", host)
        return f"{base}/{path}" if path else base

    def _kept(self, url: str, parameters: Mapping[str, Any]) -> Path | None:
        if self.cache is None:
            return None
        key = json.dumps([url, sorted(parameters.items())], default=str)
        return self.cache / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"

    def _tried(
        self, url: str, parameters: Mapping[str, Any], read: Callable[[str], Any]
    ) -> tuple[str, Any]:
        """The text of the answer, and what it says; tried again while that may help."""
        import tenacity

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Again),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=_wait_s,
            reraise=True,
        )
        try:
            return retrying(self._once, url, parameters, read)
        except _Again as error:
            tries = f"{ATTEMPTS} times" if error.after_s is None else "now"
            raise self.refusal(f"{error}, tried {tries}; try again later") from None

    def _once(
        self, url: str, parameters: Mapping[str, Any], read: Callable[[str], Any]
    ) -> tuple[str, Any]:
        import requests

        sent = {**parameters, **self.secrets}
        try:
            with self._session.get(url, params=sent, timeout=TIMEOUT_S, stream=True) as answer:
                text = self._read(answer)
        except (requests.ConnectionError, requests.Timeout) as error:
            raise _Again(self._hidden(in_words(error))) from None
        except requests.RequestException as error:
            raise self.refusal(self._hidden(in_words(error))) from None
        status = answer.status_code
        if status == 429 or status >= 500:
            raise _Again(f"answers {status} {answer.reason}", _after_s(answer.headers))
        if status >= 400:
            said = self._hidden(" ".join(text.split())[:SHOWN])
            raise self.refusal(f"answers {status} {answer.reason} to {url}: {said}")
        try:
            return text, read(text)
        except ValueError:
            raise _Again(f"answers no JSON but {self._hidden(text[:SHOWN])!r}") from None

    def _read(self, answer: "requests.Response") -> str:
        """The text of an answer, whole."""
        import requests

        parts, size = [], 0
        try:
            for part in answer.iter_content(1 << 16):
                parts.append(part)
                size += len(part)
                if size > MOST_BYTES:
                    raise self.refusal(f"answers more than {MOST_BYTES:,} bytes; ask for less")
        except (requests.exceptions.ChunkedEncodingError, requests.ConnectionError):
            raise _Again("stops in the middle of an answer") from None
        length = answer.headers.get("Content-Length", "")
        encoded = "Content-Encoding" in answer.headers
        if length.isdecimal() and not encoded and size < int(length):
            raise _Again("stops in the middle of an answer")
        return b"".join(parts).decode("utf-8", "replace")

    def _hidden(self, text: str) -> str:
        for secret in self.secrets.values():
            text = text.replace(secret, "(hidden)") if secret else text
        return text


def _after_s(headers: Mapping[str, str]) -> float | None:
    """The wait that an answer asks for [s]; None where it names none, or a date."""
    after = headers.get("Retry-After", "")
    return float(after) if after.isdecimal() else None


def _wait_s(state: "RetryCallState") -> float:
    outcome = state.outcome
    error = outcome.exception() if outcome is not None else None
    after_s = error.after_s if isinstance(error, _Again) else None
    if after_s is not None and after_s > RETRY_MAX_S and error is not None:
        raise error
    return RETRY_S * 2 ** (state.attempt_number - 1) if after_s is None else after_s
