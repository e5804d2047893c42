"""A real LemonLDAP::NG portal, SAML identity provider (by Lasso) and OpenID provider in one, on a free loopback port.

It is GPL and runs as a process of its own: Debian's packages under starman, its configuration in a throwaway folder.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import urlencode

import requests

from tests.servers.identities import (
    PASSWORD,
    PASSWORD_CONTEXT,
    CannotAnswerSo,
    Client,
    IdentityProviderMissing,
    NameIDKind,
    SAMLManners,
    Signed,
    write_settings,
)
from tests.servers.identity_server import IdentityServer
from tests.servers.idp_keys import Certified, certify
from tests.servers.processes import ServerProcess, answers
from tests.servers.saml_settings import entity_id_in

HERE = Path(__file__).resolve().parent
SHARED = Path("/usr/share/lemonldap-ng/portal")
SESSION_LASTS = 72000
# Everyone signs in with this level; it is what authentication contexts are hung on.
LEVEL = 1
NAMES = ("uid", "mail", "employeeNumber", "immutableId", "displayName")


class LemonLDAP(IdentityServer[SAMLManners]):
    """Both a SAMLIdentityProvider and an OpenIDProvider of `tests.servers.identities`. It reads its configuration when it starts,
    so whatever it is told starts it anew, in about a second; who is signed in stays so."""

    name = "lemonldap"

    def __init__(self, *, port: int | None = None) -> None:
        super().__init__(SAMLManners(), port=port)
        self.acr = "loa-1"
        self.amr: tuple[str, ...] = ("pwd",)
        self._trusted: dict[str, str] = {}
        self._clients: dict[str, Client] = {}
        self._key: Certified | None = None

    @property
    def entity_id(self) -> str:
        return f"{self.url}/saml/metadata"

    @property
    def metadata_url(self) -> str:
        return f"{self.url}/saml/metadata"

    @property
    def issuer(self) -> str:
        return self.url

    def metadata(self) -> str:
        answer = requests.get(self.metadata_url, timeout=10)
        answer.raise_for_status()
        return answer.text

    def trust(self, metadata: str) -> None:
        self._trusted[entity_id_in(metadata)] = metadata
        self._tell()

    def register(self, client: Client) -> None:
        if client.id_token_alg not in ("RS256", "PS256"):
            raise CannotAnswerSo("the portal has an RSA key here; oidc-provider signs with others")
        self._clients[client.client_id] = client
        self._tell()

    def answer(self, manners: SAMLManners) -> None:
        if manners.signed is not Signed.BOTH:
            raise CannotAnswerSo("Lasso signs both or nothing; pysaml2 and samlp let one choose")
        super().answer(manners)

    def authenticate_as(self, *, acr: str, amr: tuple[str, ...] = ("pwd",)) -> None:
        """What its ID tokens say from now on, also those of sessions that are there already."""
        self.acr, self.amr = acr, amr
        self._tell()

    def roll_keys(self, *, keep_old: bool) -> None:
        if keep_old:
            raise CannotAnswerSo("its metadata have room for one certificate; pysaml2 and samlp publish two")
        self._key = certify(self.folder, f"key-{len(list(self.folder.glob('key-*.pem'))) + 1}")
        self._tell()

    def start_url(self, sp_entity_id: str, relay_state: str = "") -> str:
        asked = {"IDPInitiated": "1", "sp": sp_entity_id, **({"RelayState": relay_state} if relay_state else {})}
        return f"{self.url}/saml/singleSignOn?{urlencode(asked)}"

    def logout_url(self, sp_entity_id: str) -> str:
        """It tells every service provider, in frames of its page, and every relying party over the back channel."""
        return f"{self.url}/?logout=1"

    def end_session_url(self) -> str:
        return f"{self.url}/?logout=1"

    def _prepare(self, folder: Path) -> None:
        if shutil.which("starman") is None or not SHARED.is_dir():
            raise IdentityProviderMissing("LemonLDAP::NG is not installed here; `make servers` installs it")
        for name in ("conf", "sessions/lock", "psessions/lock"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self._key = self._key or certify(folder, "key-1")
        write_settings(folder / "conf" / "lmConf-1.json", self._configuration(folder, self._key))
        write_settings(folder / "people.json", self._people())
        (folder / "portal.ini").write_text(_INI.format(folder=folder, templates=SHARED / "templates"))
        # What it kept of the configuration before.
        shutil.rmtree(folder / "cache", ignore_errors=True)

    def _launched(self, folder: Path) -> ServerProcess:
        # Loaded once and not by each worker; and each connection that is kept open would keep one of the three.
        listening = ["--preload-app", "--workers", "3", "--disable-keepalive", "--listen", f"127.0.0.1:{self.port}"]
        told = {"LLNG_DEFAULTCONFFILE": str(folder / "portal.ini"), "DOORLIST_TEST_PORTAL": str(folder)}
        process = ServerProcess(
            self.name,
            ["starman", *listening, str(HERE / "lemonldap.psgi")],
            folder=folder,
            environment={**told, **self._by_the_clock()},
        )
        process.wait_until(lambda: answers(self.metadata_url))
        return process

    def _tell(self) -> None:
        if self._process is not None:
            self.stop()
            self.start(self.folder)

    def _people(self) -> dict[str, object]:
        groups = sorted({group for employee in self.employees for group in employee.groups})
        return {
            "password": PASSWORD,
            "static": str(SHARED / "htdocs" / "static"),
            "javascript": "/usr/share/javascript",
            "accounts": {employee.uid: {name: employee.attributes()[name][0] for name in NAMES} for employee in self.employees},
            "groups": {group: [employee.uid for employee in self.employees if group in employee.groups] for group in groups},
        }

    def _configuration(self, folder: Path, key: Certified) -> dict[str, object]:
        return {
            **_FIXED,
            "portal": f"{self.url}/",
            "demoExportedVars": {name: name for name in NAMES},
            "globalStorageOptions": {
                "Directory": str(folder / "sessions"),
                "LockDirectory": str(folder / "sessions" / "lock"),
                "generateModule": "Lemonldap::NG::Common::Apache::Session::Generate::SHA256",
            },
            "persistentStorageOptions": {
                "Directory": str(folder / "psessions"),
                "LockDirectory": str(folder / "psessions" / "lock"),
            },
            **self._as_saml(key),
            **self._as_openid(key),
        }

    def _as_saml(self, key: Certified) -> dict[str, object]:
        manners = self.manners
        password = manners.authn_context == PASSWORD_CONTEXT
        options = {
            "samlSPMetaDataOptionsSignSSOMessage": 1,
            "samlSPMetaDataOptionsSignSLOMessage": 1,
            "samlSPMetaDataOptionsCheckSSOMessageSignature": 1,
            "samlSPMetaDataOptionsCheckSLOMessageSignature": 1,
            "samlSPMetaDataOptionsSignatureMethod": "RSA_SHA1" if manners.outdated else "RSA_SHA256",
            "samlSPMetaDataOptionsNameIDFormat": manners.name_id.value,
            "samlSPMetaDataOptionsNameIDSessionKey": "mail" if manners.name_id is NameIDKind.EMAIL else "immutableId",
            "samlSPMetaDataOptionsEncryptionMode": "assertion" if manners.encrypted else "none",
            "samlSPMetaDataOptionsSessionNotOnOrAfterTimeout": (
                int(manners.session_lasts.total_seconds()) if manners.session_lasts is not None else SESSION_LASTS
            ),
            "samlSPMetaDataOptionsNotOnOrAfterTimeout": 300,
            "samlSPMetaDataOptionsEnableIDPInitiatedURL": 1,
            "samlSPMetaDataOptionsOneTimeUse": 0,
        }
        named = {f"sp{number}": metadata for number, metadata in enumerate(self._trusted.values())}
        exported = {name: f"0;{name};;" for name in (*NAMES, "groups")}
        return {
            "issuerDBSAMLActivation": 1,
            "samlOrganizationURL": self.url,
            "samlServicePrivateKeySig": key.key,
            "samlServicePublicKeySig": key.certificate,
            "samlAuthnContextMapPasswordProtectedTransport": LEVEL if password else LEVEL + 1,
            "samlAuthnContextMapExtra": {} if password else {manners.authn_context: LEVEL},
            "samlSPMetaDataXML": {name: {"samlSPMetaDataXML": metadata} for name, metadata in named.items()},
            "samlSPMetaDataOptions": dict.fromkeys(named, options),
            "samlSPMetaDataExportedAttributes": dict.fromkeys(named, exported),
        }

    def _as_openid(self, key: Certified) -> dict[str, object]:
        scopes = {"profile": "employee_number name preferred_username", "groups": "groups"}
        names = {
            "email": "mail",
            "name": "displayName",
            "preferred_username": "uid",
            "employee_number": "employeeNumber",
            "groups": "groups",
        }
        return {
            "issuerDBOpenIDConnectActivation": 1,
            "oidcServiceMetaDataIssuer": self.issuer,
            "oidcServicePrivateKeySig": key.key,
            "oidcServicePublicKeySig": key.certificate,
            "oidcServiceKeyIdSig": key.key_file.stem,
            "oidcServiceAllowAuthorizationCodeFlow": 1,
            "oidcServiceMetaDataAuthnContext": {self.acr: LEVEL},
            "oidcServiceMetaDataAmrRules": dict.fromkeys(self.amr, "1"),
            "oidcRPMetaDataOptions": {name: _as_party(client) for name, client in self._clients.items()},
            "oidcRPMetaDataExportedVars": dict.fromkeys(self._clients, names),
            "oidcRPMetaDataOptionsExtraClaims": {client: scopes for client in self._clients},
        }


def _as_party(client: Client) -> dict[str, object]:
    options: dict[str, object] = {
        "ClientID": client.client_id,
        "ClientSecret": client.client_secret,
        "RedirectUris": " ".join(client.redirect_uris),
        "PostLogoutRedirectUris": " ".join(client.post_logout_redirect_uris),
        "BypassConsent": 1,
        "IDTokenSignAlg": client.id_token_alg,
        "AccessTokenSignAlg": client.id_token_alg,
        "IDTokenForceClaims": 1,
        "UserIDAttr": "immutableId",
        "RequirePKCE": 1,
        "AllowOffline": 1,
        "RefreshToken": 1,
        "LogoutBypassConfirm": 1,
    }
    if client.logout_uri:
        options |= {"LogoutUrl": client.logout_uri, "LogoutType": "back", "LogoutSessionRequired": 1}
    return {f"oidcRPMetaDataOptions{name}": value for name, value in options.items()}


_FIXED: dict[str, object] = {
    "cfgNum": 1,
    "cfgAuthor": "tests",
    "cfgDate": 1,
    "cfgVersion": "2.21.2",
    "domain": "127.0.0.1",
    # Cookies are shared by every port of a host, so each server of tests has a name of its own for them.
    "cookieName": "lemonldap",
    "securedCookie": 0,
    # Its own choice, None, needs https: Chromium drops the cookie, and the sign-in fails.
    "sameSite": "Lax",
    "whatToTrace": "_whatToTrace",
    "macros": {"_whatToTrace": "$uid"},
    "requireToken": 0,
    # Seconds within which a sign-in is recent enough even where a new one is demanded; with none it would ask for ever.
    "portalForceAuthnInterval": 2,
    # It would ask whether one wants to sign in again before it lets one do so.
    "skipRenewConfirmation": 1,
    "skipUpgradeConfirmation": 1,
    "portalCheckLogins": 0,
    "loginHistoryEnabled": 0,
    "checkXSS": 0,
    "key": "0123456789abcdef",
    "portalMainLogo": "common/logos/logo_llng_400px.png",
    "portalSkin": "bootstrap",
    "portalDisplayRegister": 0,
    "portalDisplayResetPassword": 0,
    "captcha_login_enabled": 0,
    "captcha_mail_enabled": 0,
    "captcha_register_enabled": 0,
    "notification": 0,
    "timeout": SESSION_LASTS,
    "authentication": "Demo",
    "userDB": "Same",
    "passwordDB": "Null",
    "registerDB": "Null",
    "globalStorage": "Apache::Session::File",
    "persistentStorage": "Apache::Session::File",
    "locationRules": {"127.0.0.1": {"default": "accept"}},
}

_INI = """[all]
logLevel = notice
logger = Lemonldap::NG::Common::Logger::Std
[configuration]
type = File
dirName = {folder}/conf
localStorage = Cache::FileCache
localStorageOptions = {{ 'namespace' => 'c', 'default_expires_in' => 600, 'cache_root' => '{folder}/cache' }}
[portal]
staticPrefix = /static
templateDir = {templates}
languages = en
[handler]
status = 0
"""
