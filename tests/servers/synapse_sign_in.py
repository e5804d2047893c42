"""How people sign in to the Synapse of tests: through an OpenID provider that a test names."""

from __future__ import annotations

from dataclasses import dataclass

# Synapse calls it `oidc-doorlist` in accounts' external ids.
IDP = "doorlist"
NOBODY = "http://127.0.0.1:8484"


@dataclass(frozen=True, kw_only=True)
class SignInProvider:
    """The OpenID provider that people sign in through. It need not be there yet when Synapse starts.

    People must have been provisioned with its `sub` as their external id, unless `localpart` (Jinja, over `user`'s claims)
    names an account of theirs: Synapse then takes it over, and with `makes_accounts` makes it. It may sign with RS256, PS256
    or ES256; Synapse knows EdDSA by its old name only.
    """

    issuer: str
    client_id: str = "synapse"
    client_secret: str
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    localpart: str | None = None
    makes_accounts: bool = False


def as_settings(provider: SignInProvider | None, *, otherwise: str) -> dict[str, object]:
    """One of `oidc_providers`. With none, one that nobody can sign in through, whose secret is `otherwise`."""
    told = provider or SignInProvider(issuer=NOBODY, client_secret=otherwise)
    # Every endpoint is given, so that Synapse does not go and look for somebody who is not there.
    endpoints = {
        "authorization_endpoint": f"{NOBODY}/oauth/authorize",
        "token_endpoint": f"{NOBODY}/oauth/token",
        "userinfo_endpoint": f"{NOBODY}/oauth/userinfo",
        "jwks_uri": f"{NOBODY}/oauth/jwks",
    }
    return {
        "idp_id": IDP,
        "idp_name": "Doorlist",
        "issuer": told.issuer,
        "client_id": told.client_id,
        "client_secret": told.client_secret,
        "discover": provider is not None,
        **({} if provider else endpoints),
        # It would refuse an issuer that is not https.
        "skip_verification": True,
        "scopes": list(told.scopes),
        "user_profile_method": "userinfo_endpoint",
        "enable_registration": told.makes_accounts,
        "allow_existing_users": told.localpart is not None,
        "backchannel_logout_enabled": True,
        "user_mapping_provider": {"config": {"subject_claim": "sub", **({"localpart_template": told.localpart} if told.localpart else {})}},
    }
