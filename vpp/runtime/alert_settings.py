"""The section `[alerts]` of the configuration: when an alert fires, and where it goes.

python -c "from vpp.runtime.alert_settings import Alerts; print(Alerts())"
"""

from dataclasses import dataclass

from vpp.runtime.errors import FieldError
from vpp.runtime.fields import Section, choice, number


@dataclass(frozen=True)
class Alerts(Section):
    """`[alerts]`: limits of the rules, and the channels; a limit of 0 switches its rule off.

    Parameters
    ----------
    source_stale_h : the newest value of a source ends so many hours before now.
    data_end_behind_h : the data end is so many hours before now.
    plan_late_min : the newest plan was issued so many minutes ago.
    limits_bent : the newest plan bends a limit in so many intervals to come.
    soc_off_plan : a measured state of charge is so far from the plan's, as a fraction of capacity.
    price_spike_eur_per_mwh : a published price of the hours to come is so high.
    dead_letters : so many messages were dead-lettered within dead_letters_h.
    dead_letters_h : hours in which dead letters are counted.
    coverage_off : the bands that 80 % of outcomes are expected in hold a share that is so far from
        it, over coverage_days.
    coverage_days : days of forecasts that are compared with what came.
    webhook_url : each alert is posted there as JSON; empty: no webhook.
    smtp_host : mail server; empty: no mail.
    smtp_port : its port.
    smtp_security : how to talk to it: starttls, tls or none.
    smtp_user : name to log in with; empty: no login.
    smtp_password : password to log in with.
    mail_from : sender of mails.
    mail_to : their receivers.
    retry_min : a message that a channel did not take is tried again after so many minutes, later
        after up to 16 times as many.
    """

    source_stale_h: float = number(6.0, 0)
    data_end_behind_h: float = number(3.0, 0)
    plan_late_min: float = number(120.0, 0)
    limits_bent: int = number(1, 0)
    soc_off_plan: float = number(0.1, 0, 1)
    price_spike_eur_per_mwh: float = number(500.0, 0)
    dead_letters: int = number(1, 0)
    dead_letters_h: float = number(24.0, above=0)
    coverage_off: float = number(0.2, 0, 1)
    coverage_days: int = number(7, 1, 366)
    webhook_url: str = ""
    smtp_host: str = ""
    smtp_port: int = number(587, 1, 65535)
    smtp_security: str = choice("starttls", "starttls", "tls", "none")
    smtp_user: str = ""
    smtp_password: str = ""
    mail_from: str = "vpp@localhost"
    mail_to: tuple[str, ...] = ()
    retry_min: float = number(1.0, above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.webhook_url and not self.webhook_url.startswith(("http://", "https://")):
            raise FieldError("webhook_url", self.webhook_url, "an address http://… or https://…")
        if self.smtp_host and not self.mail_to:
            raise FieldError("mail_to", "", "receivers, since smtp_host names a mail server")
        for name, values in (("mail_from", (self.mail_from,)), ("mail_to", self.mail_to)):
            for value in values:
                if "@" not in value or any(mark.isspace() for mark in value):
                    raise FieldError(name, value, "addresses such as person@example.org")
