"""Notifiers that post to a receiver of the tests, as Slack's webhook takes it, or fail."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING, Any

from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import BaseNotifier

if TYPE_CHECKING:
    from airflow.sdk import Context


class Webhook(BaseNotifier):
    """Post `text` as JSON, as a Slack-shaped webhook takes it."""

    template_fields = ("url", "text", "token")

    def __init__(self, *, url: str, text: str = "{{ notice.text }}", token: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.url = url
        self.text = text
        self.token = token

    def notify(self, context: Context) -> None:
        body = json.dumps({"text": self.text, "kind": context["notice"].kind}).encode()  # type: ignore[typeddict-item]
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(self.url, body, headers)
        with urllib.request.urlopen(request, timeout=10) as response:
            assert response.read() == b"ok"


class Failing(BaseNotifier):
    """Raise, as a notifier does whose service does not answer."""

    def notify(self, context: Context) -> None:
        raise ConnectionError(f"no answer about {context['notice'].pipeline}")  # type: ignore[typeddict-item]


class NoNotifier:
    """Not a notifier."""


__all__ = ["Failing", "NoNotifier", "SmtpNotifier", "Webhook"]  # SmtpNotifier: a class of another module
