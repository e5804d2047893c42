"""The question whose token this is, to be joined to what the request asks: one round trip answers both."""

from sqlalchemy import BigInteger, Select, and_, select

from app.access.tables import BearerToken
from app.access.tokens import good
from app.directory.tables import Source
from app.statements import param


def client_query() -> Select[str, str, str]:
    """SELECT organization_id, source_id, source_name of the source `:source` if `:digest` is a good token of it at `:at`."""
    return (
        select(BearerToken.organization_id, Source.id.label("source_id"), Source.name.label("source_name"))
        .join(Source, and_(Source.organization_id == BearerToken.organization_id, Source.id == BearerToken.holder_id))
        .where(
            BearerToken.digest == param("digest"), BearerToken.holder_kind == "source", BearerToken.holder_id == param("source"),
            good(param("at", BigInteger())), Source.ended_at.is_(None),
        )
    )  # fmt: skip
