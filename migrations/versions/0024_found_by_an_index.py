"""What is asked for each person is found in an index, however many people there are: who has an address or a name, where somebody is, who is awaited, what a device was let have."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"

_ENDED = sa.text("ended_at IS NOT NULL")
_OF_DEVICE = sa.text("device_id IS NOT NULL")
_CHANGED = {
    "record_email": ("ix_record_email_address", ["organization_id", "address_key", "record_id"]),
    "channel_member": ("ix_channel_member_person", ["organization_id", "person_id", "workspace_id", "channel_id"]),
    "awaited_member": ("ix_awaited_member_group", ["organization_id", "source_id", "group_key", "member_key"]),
}


def upgrade() -> None:
    for table, (name, columns) in _CHANGED.items():
        op.drop_index(name, table)
        op.create_index(name, table, columns)
    for name, column in (("ix_record_ended_external_id", "external_id"), ("ix_record_ended_user_name", "user_name_key")):
        op.create_index(name, "record", ["organization_id", column], postgresql_where=_ENDED, sqlite_where=_ENDED)
    op.create_index("ix_grant_sid", "oauth_grant", ["organization_id", "sid"])
    op.create_index("ix_grant_device", "oauth_grant", ["organization_id", "device_id"], postgresql_where=_OF_DEVICE, sqlite_where=_OF_DEVICE)
