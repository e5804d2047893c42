"""Lines of what is held that still wait are found in an index, however many of it were decided or taken back."""

from alembic import op

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    op.create_index("ix_held_line_state", "held_line", ["organization_id", "held_id", "state", "subject_kind", "subject_id"])
