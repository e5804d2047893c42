"""The kinds of alarm: what each says to a person, what to do about it, and how urgent it is. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from app.revocation.alarm_tables import Severity


class AlarmKind(StrEnum):
    ACCESS_STILL_ALIVE = "access_still_alive"
    ADMIN_WITHOUT_SECOND_FACTOR = "admin_without_second_factor"
    AUDIT_ALTERED = "audit_altered"
    AUDIT_BEHIND = "audit_behind"
    BREAK_GLASS_USED = "break_glass_used"
    CERTIFICATE_EXPIRING = "certificate_expiring"
    CODE_REUSED = "code_reused"
    CONTRACT_INCOMPLETE = "contract_incomplete"
    CONTRACT_LAPSED = "contract_lapsed"
    CONTRACT_UNANSWERED = "contract_unanswered"
    CREDENTIAL_EXPIRING = "credential_expiring"
    DATABASE_RESTORED = "database_restored"
    DEPARTURE_NOT_DECIDED = "departure_not_decided"
    DEPARTURE_NOT_SHUT = "departure_not_shut"
    HR_CALL_PARKED = "hr_call_parked"
    IDENTIFIER_RECYCLED = "identifier_recycled"
    KEY_EXPIRING = "key_expiring"
    LAST_OWNER_LEAVING = "last_owner_leaving"
    LEAVER_SEEN_AGAIN = "leaver_seen_again"
    PROVIDER_AWAY = "provider_away"
    PUSH_HELD = "push_held"
    QUESTIONS_WAIT = "questions_wait"
    REFRESH_TOKEN_REUSED = "refresh_token_reused"
    REVOCATION_FLOOD = "revocation_flood"
    SAFEGUARD_LOWERED = "safeguard_lowered"
    SOURCE_SILENT = "source_silent"
    SPONSOR_LEFT = "sponsor_left"
    STREAM_SILENT = "stream_silent"
    TEST = "test"
    WEBHOOKS_REFUSED = "webhooks_refused"
    WORKSPACE_HALTED = "workspace_halted"
    WORKSPACE_RESTORED = "workspace_restored"


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """`says` stands in the subject of a mail, so it names no person. `advice` is what to do."""

    says: str
    advice: str
    severity: Severity = Severity.URGENT


_WARNING = Severity.WARNING
MEANINGS: Mapping[AlarmKind, Meaning] = {
    AlarmKind.ACCESS_STILL_ALIVE: Meaning(
        says="somebody who has left could still get in",
        advice="They are being shut out again. Find out who let them in: doorlist receipt PERSON shows each instant.",
    ),
    AlarmKind.ADMIN_WITHOUT_SECOND_FACTOR: Meaning(
        says="an administrator came without a second factor, and was turned away",
        advice="Have the identity provider demand one for administrators, or take the role from them.",
    ),
    AlarmKind.AUDIT_ALTERED: Meaning(
        says="the audit log does not fit its own signed checkpoint",
        advice="Export it and verify it with a copy of an earlier checkpoint: doorlist audit verify FILE names the place.",
    ),
    AlarmKind.AUDIT_BEHIND: Meaning(
        says="the audit tree is behind",
        advice="Nothing new is given until it has caught up; access is taken as ever. Is a worker running?",
    ),
    AlarmKind.BREAK_GLASS_USED: Meaning(
        says="a break-glass account was used",
        advice="Ask its holder, by another way, whether it was them and why.",
    ),
    AlarmKind.CERTIFICATE_EXPIRING: Meaning(
        says="a certificate of an identity provider ends soon",
        advice="Add the provider's next certificate to the connection beside the present one.", severity=_WARNING,
    ),
    AlarmKind.CODE_REUSED: Meaning(
        says="an authorization code was shown twice",
        advice="What it gave was ended. One of the two who showed it should not have had it: look at that application.",
    ),
    AlarmKind.CONTRACT_INCOMPLETE: Meaning(
        says="somebody who is no employee has no sponsor, or no last day",
        advice="See doorlist contractor list, and give them both: contractor reassign, contractor attest.", severity=_WARNING,
    ),
    AlarmKind.CONTRACT_LAPSED: Meaning(
        says="somebody who is no employee was suspended, since nobody had vouched for them",
        advice="Ask their sponsor: doorlist contractor attest lets them back in until another day, contractor end lets them go.", severity=_WARNING,
    ),
    AlarmKind.CONTRACT_UNANSWERED: Meaning(
        says="a sponsor has not answered",
        advice="See doorlist contractor list. Whoever is not vouched for by their last day is suspended.", severity=_WARNING,
    ),
    AlarmKind.CREDENTIAL_EXPIRING: Meaning(
        says="a directory's token ends soon",
        advice="Give it another: doorlist source rotate NAME.", severity=_WARNING,
    ),
    AlarmKind.DATABASE_RESTORED: Meaning(
        says="the database is older than it was, and nobody is let in",
        advice="Follow 'Restoring a backup' in docs/operations.md: doorlist doctor --restored.",
    ),
    AlarmKind.DEPARTURE_NOT_DECIDED: Meaning(
        says="departures came due and nobody acted on them",
        advice="Start a worker: doorlist serve, or doorlist worker.",
    ),
    AlarmKind.DEPARTURE_NOT_SHUT: Meaning(
        says="somebody who has left is not shut out of a workspace yet",
        advice="Their access through Doorlist has ended. If it matters now, lock their account there by hand; doorlist status says what stands in the way.",
    ),
    AlarmKind.HR_CALL_PARKED: Meaning(
        says="an HR call is parked: it means nobody, or more than one",
        advice="See doorlist parked list. If somebody has left, doorlist depart PERSON does not wait for it.", severity=_WARNING,
    ),
    AlarmKind.IDENTIFIER_RECYCLED: Meaning(
        says="an identifier of somebody belongs to somebody else now",
        advice="Their sign-ins by it were ended. Look whose it is in the directory, and that nothing of the one before went to them.", severity=_WARNING,
    ),
    AlarmKind.KEY_EXPIRING: Meaning(
        says="a key ends soon",
        advice="Make its successor before then, so that both are known for a while.", severity=_WARNING,
    ),
    AlarmKind.LAST_OWNER_LEAVING: Meaning(
        says="the last owner has left",
        advice="Make somebody else owner: doorlist operator add NAME --role owner, on the machine itself.",
    ),
    AlarmKind.LEAVER_SEEN_AGAIN: Meaning(
        says="somebody who has left seems to be back under another address",
        advice="Look whether it is the same person, and whether they should be.", severity=_WARNING,
    ),
    AlarmKind.PROVIDER_AWAY: Meaning(
        says="an identity provider does not answer",
        advice="Nobody signs in through it until it does; who is signed in stays for as long as the connection allows.", severity=_WARNING,
    ),
    AlarmKind.PUSH_HELD: Meaning(
        says="many are to lose access at once, and it waits for a decision",
        advice="See doorlist held list. Who must be out now does not wait for it: doorlist depart PERSON.",
    ),
    AlarmKind.QUESTIONS_WAIT: Meaning(
        says="it is in doubt who somebody is",
        advice="See doorlist questions list; who is asked about by a pulled directory waits outside until doorlist questions answer.", severity=_WARNING,
    ),
    AlarmKind.REFRESH_TOKEN_REUSED: Meaning(
        says="a refresh token was shown a second time",
        advice="All that came from it was ended. It was probably copied: ask its owner, and look at the device.",
    ),
    AlarmKind.REVOCATION_FLOOD: Meaning(
        says="unusually many revocations are asked for",
        advice="They are obeyed. If the asker's key has leaked, revoke it; who was shut out comes back with doorlist return PERSON.",
    ),
    AlarmKind.SAFEGUARD_LOWERED: Meaning(
        says="a brake was loosened, or one administrator is enough from now on",
        advice="Ask whoever did it. Set it back when that is over: doorlist settings list.", severity=_WARNING,
    ),
    AlarmKind.SOURCE_SILENT: Meaning(
        says="a source that used to speak is silent",
        advice="Look whether its webhook or its job still exists: it may have ended with the person who made it.", severity=_WARNING,
    ),
    AlarmKind.SPONSOR_LEFT: Meaning(
        says="somebody's sponsor has left",
        advice="Name another sponsor for them, or let them go.", severity=_WARNING,
    ),
    AlarmKind.STREAM_SILENT: Meaning(
        says="a stream of signals is silent",
        advice="Either signals from there do not reach us, or ours do not reach them. Ask the transmitter or receiver that it names, or make the stream anew.",
    ),
    AlarmKind.TEST: Meaning(
        says="this is a test", advice="Nothing has happened. Acknowledge it, to see that this works as well.", severity=_WARNING,
    ),
    AlarmKind.WEBHOOKS_REFUSED: Meaning(
        says="calls to us with a wrong signature are refused",
        advice="Either the sender has another secret than we do, or somebody else is trying: doorlist source rotate NAME.", severity=_WARNING,
    ),
    AlarmKind.WORKSPACE_HALTED: Meaning(
        says="a workspace is halted: departures wait there as well",
        advice="Mend it, then: doorlist workspace resume NAME.",
    ),
    AlarmKind.WORKSPACE_RESTORED: Meaning(
        says="a workspace lets people in again whom it had shut out",
        advice="It was probably restored from a backup. Everyone who has left is looked at there again and shut out; doorlist status shows how far that is. "
        "Whoever changed channels since that backup is in the old ones again: doorlist plan, then doorlist apply.",
    ),
}  # fmt: skip
