"""The token endpoint: who gets an access token, what it opens and for how long, and each refusal as RFC 6749 §5.2 says."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from app.access import grants, tokens
from app.access.clients import Opened, WayIn, client_of, renew_client, still_used, ways_in
from app.access.grants import InvalidClient, Proved
from app.access.rates import Buckets
from app.access.tables import BearerToken, SpentAssertion
from app.clock import now
from app.database import in_transaction, reading, transaction
from app.journal.tables import Entry, Organization
from app.scim.door import limits
from tests.clients.directory import Directory
from tests.two_at_once import meanwhile
from tests.unit.access.conftest import OPERATOR, TOKEN_URL, Applicant, applicant_at, organization_of
from tests.unit.access.signing import assertion_of, jwks_of, key_for


def refused(answer: TestResponse, error: str, status: int) -> bool:
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json is not None and set(answer.json) == {"error", "error_description"}
    description = answer.json["error_description"]
    # RFC 6749 §5.2 has no quotes, no backslash and nothing beyond ASCII in it.
    assert description and all(" " <= letter <= "~" and letter not in '"\\' for letter in description)
    return (answer.json["error"], answer.status_code) == (error, status)


def token_in(answer: TestResponse) -> str:
    assert answer.status_code == 200 and answer.json is not None, answer.text
    return str(answer.json["access_token"])


def test_a_secret_in_the_body_gives_a_token_for_an_hour_that_opens_the_directory(applicant: Applicant) -> None:
    answer = applicant.asks_with_secret()

    assert answer.json is not None
    assert {**answer.json, "access_token": ""} == {"access_token": "", "token_type": "Bearer", "expires_in": 3600, "scope": "scim"}
    assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")
    assert token_in(answer).startswith("dl_at_")
    assert applicant.opens(token_in(answer))


@pytest.mark.parametrize("written", [str, quote, lambda text: "".join(f"%{byte:02X}" for byte in text.encode())])
def test_a_secret_in_the_header_may_be_encoded_or_not(applicant: Applicant, written: Callable[[str], str]) -> None:
    answer = applicant.asks_in_the_header(written(applicant.opened.client_id), written(str(applicant.opened.secret)))

    assert applicant.opens(token_in(answer))


def test_a_client_that_became_one_has_no_other_way_in_any_more(directory: Directory) -> None:
    applicant = applicant_at(directory)

    assert not applicant.opens(directory.token)
    assert not applicant.opens(str(applicant.opened.secret))


def test_an_access_token_opens_no_other_directory(applicant: Applicant) -> None:
    other = applicant.directory.beside("entra")
    token = token_in(applicant.asks_with_secret())

    assert other.send("GET", "/Users", Authorization=f"Bearer {token}").status == 401


def test_an_access_token_ends_after_its_hour_and_is_forgotten(applicant: Applicant) -> None:
    first = token_in(applicant.asks_with_secret())
    in_transaction(
        lambda session: session.execute(
            update(BearerToken).where(BearerToken.digest == tokens.digest_of(first)).values(expires_at=now() - timedelta(seconds=1))
        )
    )

    assert not applicant.opens(first)
    second = token_in(applicant.asks_with_secret())
    with reading() as session:
        kept = session.scalars(select(BearerToken.digest).where(BearerToken.client_id.is_not(None))).all()
    assert kept == [tokens.digest_of(second)]


@pytest.mark.parametrize(
    ("form", "error", "status"),
    [
        ({"grant_type": ""}, "invalid_request", 400),
        ({"grant_type": "password"}, "unsupported_grant_type", 400),
        ({"scope": "admin"}, "invalid_scope", 400),
        ({"scope": "scim admin"}, "invalid_scope", 400),
        ({"client_secret": "dl_wrong"}, "invalid_client", 401),
        ({"client_secret": ""}, "invalid_client", 401),
        ({"client_id": ""}, "invalid_client", 401),
        ({"client_id": "0197a000-0000-7000-8000-000000000001"}, "invalid_client", 401),
        ({"client_id": "nul\0"}, "invalid_client", 401),
        ({"client_assertion": "a.b.c"}, "invalid_request", 400),
    ],
)
def test_each_refusal_has_its_code(applicant: Applicant, form: dict[str, str], error: str, status: int) -> None:
    said = {"client_id": applicant.opened.client_id, "client_secret": str(applicant.opened.secret), **form}

    assert refused(applicant.asks(**said), error, status)


def test_the_scope_may_be_said_or_left_out(applicant: Applicant) -> None:
    assert token_in(applicant.asks_with_secret(scope="scim"))
    assert token_in(applicant.asks_with_secret(scope=""))


def test_a_parameter_said_twice_is_refused(applicant: Applicant) -> None:
    answer = applicant.directory.http.post("/oauth2/token", data={"grant_type": ["client_credentials"] * 2})

    assert refused(answer, "invalid_request", 400)


def test_parameters_are_taken_from_a_form_alone(applicant: Applicant) -> None:
    said = {"grant_type": "client_credentials", "client_id": applicant.opened.client_id, "client_secret": str(applicant.opened.secret)}

    assert refused(applicant.directory.http.post("/oauth2/token", json=said), "invalid_request", 400)
    assert refused(applicant.directory.http.post("/oauth2/token", query_string=said), "invalid_request", 400)


def test_two_proofs_at_once_are_refused(applicant: Applicant) -> None:
    both = (applicant.opened.client_id, str(applicant.opened.secret))

    assert refused(applicant.asks_in_the_header(*both, client_secret=both[1]), "invalid_request", 400)
    assert refused(applicant.asks_in_the_header(*both, client_id="another"), "invalid_request", 400)


@pytest.mark.parametrize("header", ["Basic", "Basic !", "Basic YTpi", "Basic bm8tY29sb24=", "Basic /w==", "Bearer dl_x", "Basic " + base64.b64encode("é:é".encode()).decode()])
def test_a_wrong_header_is_answered_with_the_scheme_that_is_right(applicant: Applicant, header: str) -> None:
    answer = applicant.directory.http.post("/oauth2/token", data={"grant_type": "client_credentials"}, headers={"Authorization": header})

    assert refused(answer, "invalid_client", 401)
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="doorlist"'


def test_another_clients_secret_is_a_wrong_one(applicant: Applicant) -> None:
    other = applicant_at(applicant.directory.beside("entra"))

    mixed = applicant.asks(client_id=applicant.opened.client_id, client_secret=str(other.opened.secret))

    wrong = applicant.asks(client_id=applicant.opened.client_id, client_secret="dl_wrong")
    assert refused(mixed, "invalid_client", 401) and mixed.data == wrong.data


def test_a_revoked_source_gets_no_token_and_those_it_had_are_over(applicant: Applicant) -> None:
    organization_id, token = organization_of(applicant.directory), token_in(applicant.asks_with_secret())

    in_transaction(lambda session: tokens.revoke_all(session, organization_id, holder_id=applicant.directory.source_id, at=now()))

    assert not applicant.opens(token)
    assert refused(applicant.asks_with_secret(), "invalid_client", 401)


def test_a_client_revoked_between_proof_and_token_gets_none(applicant: Applicant) -> None:
    organization_id = organization_of(applicant.directory)
    shown = grants.ShownSecret(client_id=applicant.opened.client_id, secret=str(applicant.opened.secret))
    proved = grants.prove(shown, audiences=(TOKEN_URL,), at=now())
    in_transaction(lambda session: tokens.revoke_all(session, organization_id, holder_id=applicant.directory.source_id, at=now()))

    with pytest.raises(InvalidClient):
        grants.grant(proved, at=now())

    with reading() as session:
        assert session.scalar(select(func.count()).select_from(BearerToken).where(BearerToken.client_id.is_not(None))) == 0


def _renewed(applicant: Applicant, *, overlap: timedelta | None) -> Opened:
    with transaction() as session:
        return _renew(session, applicant, overlap=overlap)


def _renew(session: Session, applicant: Applicant, *, overlap: timedelta | None = None) -> Opened:
    organization_id = session.scalars(select(Organization.id)).one()
    client = client_of(session, organization_id, applicant.directory.source_id)
    assert client is not None
    return renew_client(session, client, jwks=None, actor=OPERATOR, at=now(), overlap=overlap)


def test_a_renewed_secret_leaves_the_one_before_good(applicant: Applicant) -> None:
    renewed = replace(applicant, opened=_renewed(applicant, overlap=None))

    assert renewed.opened.client_id == applicant.opened.client_id
    assert token_in(applicant.asks_with_secret()) and token_in(renewed.asks_with_secret())


def test_a_secret_ends_with_its_overlap(applicant: Applicant) -> None:
    renewed = replace(applicant, opened=_renewed(applicant, overlap=timedelta()))

    assert refused(applicant.asks_with_secret(), "invalid_client", 401)
    assert token_in(renewed.asks_with_secret())


def test_of_two_who_renew_at_once_the_second_sees_the_first(applicant: Applicant) -> None:
    first = applicant.opened
    in_hand, later = meanwhile(
        applicant.directory.app, lambda session: _renew(session, applicant), lambda: _renewed(applicant, overlap=None)
    )  # fmt: skip

    assert refused(replace(applicant, opened=first).asks_with_secret(), "invalid_client", 401)
    assert all(token_in(replace(applicant, opened=one).asks_with_secret()) for one in (in_hand, later))


def test_a_grant_is_a_use_of_the_client(applicant: Applicant) -> None:
    applicant.asks_with_secret()

    with reading() as session:
        (way,) = ways_in(session, organization_of(applicant.directory))

    assert way.last_used_at is not None and now() - way.last_used_at < timedelta(minutes=1)


def test_the_secret_that_is_used_is_told_from_the_newer_one(applicant: Applicant) -> None:
    organization_id = organization_of(applicant.directory)
    _renewed(applicant, overlap=timedelta(days=1))
    applicant.asks(client_id=applicant.opened.client_id, client_secret="dl_wrong")

    def way_in() -> WayIn:
        with reading() as session:
            return ways_in(session, organization_id)[0]

    unused = way_in()
    token_in(applicant.asks_with_secret())
    used = way_in()
    token_in(applicant.asks_with_secret())

    assert [key.last_used_at for key in unused.keys] == [None, None] and still_used(unused, at=now()) is None
    newer, older = used.keys
    assert newer.last_used_at is None and older.last_used_at is not None and now() - older.last_used_at < timedelta(minutes=1)
    assert "the older client secret of" in str(still_used(used, at=now()))
    assert way_in().keys == used.keys, "the second use within a minute wrote again"


@pytest.fixture
def signer(directory: Directory) -> Applicant:
    return applicant_at(directory, jwks=jwks_of(key_for("ES256")))


def _signed(applicant: Applicant, **claims: Any) -> str:
    return assertion_of(applicant.opened.client_id, key_for("ES256"), "ES256", **claims)


def test_a_signed_assertion_gives_a_token(signer: Applicant) -> None:
    assert signer.opened.secret is None
    assert signer.opens(token_in(signer.asks_with(_signed(signer))))
    assert signer.opens(token_in(signer.asks_with(_signed(signer), client_id=signer.opened.client_id)))


def test_an_assertion_is_good_once(signer: Applicant) -> None:
    assertion = _signed(signer)
    token_in(signer.asks_with(assertion))

    assert refused(signer.asks_with(assertion), "invalid_client", 401)


def test_a_jti_is_good_once_whatever_is_in_it(signer: Applicant) -> None:
    # Half a surrogate pair has no bytes, and PostgreSQL holds no NUL.
    for jti in ("\ud800", "\0", "x" * 3000):
        token_in(signer.asks_with(_signed(signer, jti=jti)))
        assert refused(signer.asks_with(_signed(signer, jti=jti)), "invalid_client", 401)


@pytest.mark.parametrize(("ago", "remembered"), [(timedelta(hours=23), 2), (timedelta(hours=25), 1)])
def test_an_assertion_is_remembered_until_a_day_after_it_expired_and_no_longer(signer: Applicant, ago: timedelta, remembered: int) -> None:
    token_in(signer.asks_with(_signed(signer)))
    in_transaction(lambda session: session.execute(update(SpentAssertion).values(expires_at=now() - ago)))

    token_in(signer.asks_with(_signed(signer)))

    with reading() as session:
        assert session.scalar(select(func.count()).select_from(SpentAssertion)) == remembered


def test_two_who_show_one_assertion_at_once_get_one_token(signer: Applicant) -> None:
    shown = grants.ShownAssertion(client_id=None, assertion=_signed(signer))
    first, second = (grants.prove(shown, audiences=(TOKEN_URL,), at=now()) for _ in range(2))

    grants.grant(first, at=now())
    with pytest.raises(InvalidClient, match="used before"):
        grants.grant(second, at=now())


@pytest.mark.parametrize("claims", [{"exp": 1}, {"aud": "https://elsewhere.example"}, {"iss": "x"}, {"sub": "x"}, {"sub": "\ud800"}, {"sub": None}])
def test_a_bad_assertion_gives_none_and_is_not_remembered(signer: Applicant, claims: dict[str, Any]) -> None:
    assert refused(signer.asks_with(_signed(signer, **claims)), "invalid_client", 401)

    with reading() as session:
        assert session.scalar(select(func.count()).select_from(SpentAssertion)) == 0


def test_an_assertion_must_say_its_type_and_name_one_client(signer: Applicant) -> None:
    assert refused(signer.asks(client_assertion=_signed(signer)), "invalid_request", 400)
    assert refused(signer.asks_with(_signed(signer), client_id="another"), "invalid_client", 401)


def test_a_client_proves_itself_in_its_own_way_alone(directory: Directory) -> None:
    with_secret, with_keys = applicant_at(directory), applicant_at(directory.beside("entra"), jwks=jwks_of(key_for("ES256")))

    assert refused(with_secret.asks_with(_signed(with_secret)), "invalid_client", 401)
    assert refused(with_keys.asks(client_id=with_keys.opened.client_id, client_secret="dl_x"), "invalid_client", 401)


def test_guessing_is_slowed_and_the_right_secret_never_is(applicant: Applicant) -> None:
    guesses = [applicant.asks(client_id=applicant.opened.client_id, client_secret=f"dl_{number}") for number in range(30)]

    assert refused(guesses[0], "invalid_client", 401)
    assert refused(guesses[-1], "invalid_client", 429)
    assert int(guesses[-1].headers["Retry-After"]) >= 1
    assert token_in(applicant.asks_with_secret())


def test_a_client_that_asks_for_every_request_is_told_to_keep_its_token(applicant: Applicant) -> None:
    kept = replace(limits(), grants=Buckets(rate=0.001, burst=2))
    applicant.directory.app.extensions["doorlist_limits"] = kept

    answers = [applicant.asks_with_secret() for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert refused(answers[-1], "invalid_request", 429)


def test_clients_find_the_endpoint_by_its_metadata(applicant: Applicant) -> None:
    said = applicant.directory.http.get("/.well-known/oauth-authorization-server").json

    assert said is not None
    assert (said["issuer"], said["token_endpoint"]) == ("http://127.0.0.1:8484", TOKEN_URL)
    assert said["token_endpoint_auth_methods_supported"] == ["client_secret_basic", "client_secret_post", "private_key_jwt"]
    assert said["token_endpoint_auth_signing_alg_values_supported"] == ["RS256", "PS256", "ES256", "EdDSA"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/oauth2/token", {"POST", "OPTIONS"}),
        ("PUT", "/oauth2/token", {"POST", "OPTIONS"}),
        ("POST", "/.well-known/oauth-authorization-server", {"GET", "HEAD", "OPTIONS"}),
        ("GET", "/token", {"POST", "OPTIONS"}),
        ("DELETE", "/healthz", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_who_asks_with_the_wrong_method_is_told_the_right_ones(directory: Directory, method: str, path: str, allowed: set[str]) -> None:
    answer = directory.http.open(path, method=method)

    assert (answer.status_code, answer.content_type) == (405, "application/problem+json")
    assert set(answer.headers.get("Allow", "").split(", ")) == allowed


def test_no_secret_and_no_token_is_written_anywhere_in_the_clear(
    applicant: Applicant, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    secret, token = str(applicant.opened.secret), token_in(applicant.asks_with_secret())
    guess = applicant.asks(client_id=applicant.opened.client_id, client_secret="dl_guessed")
    again = _renewed(applicant, overlap=timedelta(hours=1))

    with reading() as session:
        journal = "".join(f"{entry.before}{entry.after}{entry.because}{entry.subject_id}" for entry in session.scalars(select(Entry)))
        rows = "".join(str(vars(row)) for row in session.scalars(select(BearerToken)))
    written = f"{journal}{rows}{caplog.text}{''.join(capfd.readouterr())}{guess.text}{again!r}{applicant.opened!r}"

    assert journal and rows
    for hidden in (secret, token, str(again.secret), "dl_guessed"):
        assert hidden not in written


def test_what_is_proved_shows_nothing_of_the_proof() -> None:
    shown = (grants.ShownSecret(client_id="c", secret="sesame"), grants.ShownAssertion(client_id=None, assertion="sesame"))

    assert "sesame" not in repr(shown)
    assert "sesame" not in repr(grants.Granted(token="sesame", expires_in=1))
    assert Proved(organization_id="o", client_id="c").assertion_digest is None
