"""The channels that alerts go out by: webhook and e-mail; others hand theirs to `evaluate`.

A channel takes a message and returns once it is delivered, or raises. It reads and writes nothing
else.

    python -c "from vpp.planning.alert_channels import text_of; help(text_of)"
"""

import smtplib
import ssl
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from typing import Any

from vpp.runtime.alert_settings import Alerts
from vpp.runtime.errors import VppError
from vpp.runtime.settings import Config
from vpp.runtime.tables import shown
from vpp.runtime.words import in_one_line

TIMEOUT_S = 10.0  # a channel that does not answer for so long has failed
Message = Mapping[str, Any]
Channel = Callable[[Message], None]


class ChannelError(VppError):
    """A channel did not take a message; says why."""


def channels(config: Config) -> dict[str, Channel]:
    """The channels that the configuration names, by their names.

    Parameters
    ----------
    config : its `[alerts]`.
    """
    found: dict[str, Channel] = {}
    if config.alerts.webhook_url:
        found["webhook"] = lambda message: post(config.alerts.webhook_url, message)
    if config.alerts.smtp_host:
        found["mail"] = lambda message: mail(config.alerts, config.site.name, message)
    return found


def text_of(message: Message) -> str:
    """An alert as a person reads it.

    Parameters
    ----------
    message : event, rule, subject, message, what_to_do, fired_at and resolved_at of the alert.

    Returns
    -------
    A line that says what is wrong and since when, and one that says what helps; once it is
    resolved, since when.
    """
    what = in_one_line(message["message"])
    if message["event"] == "resolved":
        return (
            f"Resolved {shown(message['resolved_at'])}: {what} (since {shown(message['fired_at'])})"
        )
    return (
        f"{what} (since {shown(message['fired_at'])})\nTo do: {in_one_line(message['what_to_do'])}"
    )


def json_of(message: Message) -> dict:
    """An alert as other programs take it; times are ISO 8601 with Z.

    Parameters
    ----------
    message : as `text_of` takes it, with site_id and value.
    """
    names = ("site_id", "event", "rule", "subject", "value", "message", "what_to_do")
    times = {name: message[name] for name in ("fired_at", "resolved_at")}
    return {name: message[name] for name in names} | {
        name: None if time is None else time.strftime("%Y-%m-%dT%H:%M:%SZ")
        for name, time in times.items()
    }


def post(url: str, message: Message) -> None:
    """Post an alert as JSON; an answer of 200 to 299 means that it was taken.

    Parameters
    ----------
    url : where to.
    message : the alert.

    Raises
    ------
    ChannelError : no answer, or another one; the address is not told, since it may be a secret.
    """
    import requests

    try:
        answer = requests.post(url, json=json_of(message), timeout=TIMEOUT_S, allow_redirects=False)
    except requests.RequestException as error:
        late = isinstance(error, requests.Timeout)
        why = f"no answer within {TIMEOUT_S:g} s" if late else "it cannot be reached"
        raise ChannelError(f"webhook: {why}") from None
    if not 200 <= answer.status_code < 300:
        raise ChannelError(f"webhook: answer {answer.status_code}; expected 200 to 299")


def mail(alerts: Alerts, site: str, message: Message) -> None:
    """Send an alert by e-mail.

    Parameters
    ----------
    alerts : names the server, sender and receivers.
    site : name of the site, for the subject.
    message : the alert.

    Raises
    ------
    ChannelError : the server cannot be reached or refuses.
    """
    letter = EmailMessage()
    word = "Resolved" if message["event"] == "resolved" else "Alert"
    subject = f"[{site}] {word}: {message['rule']} {message['subject']}"
    letter["Subject"] = in_one_line(subject)[:200]
    letter["From"], letter["To"] = alerts.mail_from, ", ".join(alerts.mail_to)
    letter.set_content(text_of(message))
    try:
        with _server(alerts) as server:
            if alerts.smtp_user:
                server.login(alerts.smtp_user, alerts.smtp_password)
            server.send_message(letter)
    except (OSError, smtplib.SMTPException) as error:
        reason = in_one_line(error)[:200] or "it does not answer"
        raise ChannelError(f"mail server {alerts.smtp_host}:{alerts.smtp_port}: {reason}") from None


def _server(alerts: Alerts) -> smtplib.SMTP:
    """A connection to the mail server, encrypted as it is configured."""
    address = alerts.smtp_host, alerts.smtp_port
    context = ssl.create_default_context()
    if alerts.smtp_security == "tls":
        return smtplib.SMTP_SSL(*address, timeout=TIMEOUT_S, context=context)
    server = smtplib.SMTP(*address, timeout=TIMEOUT_S)
    try:
        if alerts.smtp_security == "starttls":
            server.starttls(context=context)
    except BaseException:
        server.close()
        raise
    return server
