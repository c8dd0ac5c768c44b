"""Expected failures: each says in one line what is wrong, where, what was expected, what to do.

A script ends with the `exit_code` of such a failure; any other exception keeps its traceback.
"""

import difflib
from collections.abc import Iterable

SHOWN_NAMES = 8  # of those that a message offers instead of an unknown one


class VppError(Exception):
    """An expected failure, whose message is one line; a script ends with `exit_code`."""

    exit_code = 1


class ConfigError(VppError):
    """The configuration or the command line cannot be used."""

    exit_code = 2


class FieldError(ValueError):
    """A value that its field refuses.

    Parameters
    ----------
    key : name of the field.
    value : the value refused.
    expected : what the field takes, in words.
    """

    def __init__(self, key: str, value: object, expected: str) -> None:
        said = (shortened(key, 200), shortened(value, 80), shortened(expected, 1200))
        super().__init__("{} = {}: expected {}".format(*said))
        self.key, self.value, self.expected = key, value, expected


def shortened(text: object, most: int) -> str:
    """A text of no more than so many characters: its beginning and its end.

    Parameters
    ----------
    text : the text.
    most : characters at most.
    """
    whole = str(text)
    if len(whole) <= most:
        return whole
    tail = most // 5
    return f"{whole[: most - tail - 3]}...{whole[-tail:]}"


def one_of(name: object, known: Iterable[object]) -> str:
    """Say which names there are, those nearest to an unknown one first.

    Parameters
    ----------
    name : the unknown name.
    known : the names that would do.

    Returns
    -------
    Words for the end of a message, at most `SHOWN_NAMES` names.
    """
    names = list(dict.fromkeys(map(str, known)))
    if not names:
        return "there is none"
    likely = difflib.get_close_matches(str(name), names, n=len(names), cutoff=0.0)
    likely.sort(key=lambda known: not known.startswith(str(name)))  # one cut short comes first
    more = f", … ({len(names)} in all)" if len(names) > SHOWN_NAMES else ""
    return f"expected one of {', '.join(likely[:SHOWN_NAMES])}{more}"


def check_known(what: str, name: object, known: Iterable[object]) -> None:
    """Refuse a name that is not known.

    Parameters
    ----------
    what : the kind of thing that has such names, for the message.
    name : the name to look for.
    known : the names that there are.

    Raises
    ------
    ConfigError : it is not known; the message gives the nearest names.
    """
    known = list(known)
    if name not in known:
        raise ConfigError(f"{what} {name} is unknown; {one_of(name, known)}")
