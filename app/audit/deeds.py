"""Writing down what was done in a workspace."""

from datetime import datetime

from sqlalchemy.orm import Session

from app.audit.tables import Deed


def record(
    session: Session, organization_id: str, *, workspace_id: str, at: datetime, subject: str, subject_id: str, did: str, ended: str = "done"
) -> None:
    """Append one deed; `did` names what changed there, without message text and without secrets."""
    session.add(
        Deed(organization_id=organization_id, workspace_id=workspace_id, at=at, subject=subject, subject_id=subject_id, did=did, ended=ended)
    )
