"""A person without a browser: quick, and it holds the identity provider's answer in its hand instead of delivering it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urljoin

import requests
from lxml import html

from tests.servers.identities import PASSWORD, Employee

MOST_STEPS = 15


@dataclass(frozen=True, kw_only=True)
class Form:
    """One that a page would have sent on: where to, and what."""

    action: str
    fields: dict[str, str]


class Visitor:
    """Has cookies like a browser and runs no scripts; signs in with any of the identity providers of tests."""

    def __init__(self) -> None:
        self.session = requests.Session()

    def saml_answer(self, url: str, employee: Employee, *, password: str = PASSWORD) -> Form:
        """From `url`, an AuthnRequest or a provider's own start, to the form with the SAMLResponse, which is not sent."""
        page = self._signed_in(self._get(url), employee, password)
        for _ in range(MOST_STEPS):
            form = _form_in(page)
            if form is None:
                break
            if "SAMLResponse" in form.fields:
                return form
            page = self.session.post(form.action, data=form.fields, timeout=20)
        raise AssertionError(f"{page.url} answered {page.status_code} and no SAMLResponse: {page.text[:500]}")

    def arrives_at(self, url: str, employee: Employee, *, stop_before: str, password: str = PASSWORD) -> str:
        """From `url`, an authorization request, to the address beginning with `stop_before`, which is not opened."""
        page = self._get(url, stop_before=stop_before)
        if not _stopped(page, stop_before):
            page = self._signed_in(page, employee, password, stop_before=stop_before)
        if not _stopped(page, stop_before):
            raise AssertionError(f"{page.url} answered {page.status_code} and did not send on: {page.text[:500]}")
        return _sent_on(page)

    def _signed_in(self, page: requests.Response, employee: Employee, password: str, *, stop_before: str = "") -> requests.Response:
        form = _form_in(page)
        if form is None or "password" not in form.fields:
            return page
        told = {**form.fields, "user": employee.uid, "password": password}
        return self._on(self.session.post(form.action, data=told, timeout=20, allow_redirects=False), stop_before)

    def _get(self, url: str, *, stop_before: str = "") -> requests.Response:
        return self._on(self.session.get(url, timeout=20, allow_redirects=False), stop_before)

    def _on(self, page: requests.Response, stop_before: str) -> requests.Response:
        for _ in range(MOST_STEPS):
            if not page.is_redirect or _stopped(page, stop_before):
                return page
            page = self.session.get(_sent_on(page), timeout=20, allow_redirects=False)
        raise AssertionError(f"sent in circles, last to {page.url}")


def _sent_on(page: requests.Response) -> str:
    return urljoin(page.url, page.headers.get("Location", ""))


def _stopped(page: requests.Response, stop_before: str) -> bool:
    return bool(stop_before) and page.is_redirect and _sent_on(page).startswith(stop_before)


def _form_in(page: requests.Response) -> Form | None:
    """The one that signs in or sends on; a page may have others."""
    forms = html.fromstring(page.text).forms if page.text.strip() else []
    for form in sorted(forms, key=lambda one: "password" not in one.fields):
        fields = {str(name): str(value or "") for name, value in form.fields.items() if name}
        return Form(action=urljoin(page.url, form.action or page.url), fields=fields)
    return None
