"""What whoever has the database can do to it: the triggers keep out mistakes, not them."""

from sqlalchemy import Executable, text

from app.database import db, transaction

GUARDED = ("journal", "deed")


def tampered(*statements: Executable) -> None:
    """Change rows as if nothing guarded them."""
    with transaction() as session:
        if session.get_bind().dialect.name == "postgresql":
            session.execute(text("SET LOCAL session_replication_role = replica"))
        else:
            for table in GUARDED:
                for what in ("update", "delete"):
                    session.execute(text(f"DROP TRIGGER IF EXISTS {table}_no_{what}"))
        for statement in statements:
            session.execute(statement)


def garbled(entry: int, written: object = "{", column: str = "before") -> list[Executable]:
    """What puts a value of another kind where an entry says, for one, what stood there before. PostgreSQL takes none, so there it is nothing."""
    if db.engine.dialect.name == "postgresql":
        return []
    return [text(f"UPDATE journal SET {column} = :written WHERE id = :entry").bindparams(written=written, entry=entry)]


def garbled_leaf(number: int, **written: object) -> list[Executable]:
    """The same of a leaf."""
    if db.engine.dialect.name == "postgresql":
        return []
    values = ", ".join(f"{column} = :{column}" for column in written)
    return [text(f"UPDATE audit_leaf SET {values} WHERE number = :number").bindparams(number=number, **written)]
