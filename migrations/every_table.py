"""Imports every module of tables, so that the metadata is whole."""

import app.access.closed_tables
import app.access.connection_tables
import app.access.factor_tables
import app.access.key_tables
import app.access.session_tables
import app.access.tables
import app.audit.request_tables
import app.audit.tables
import app.audit.tree_tables
import app.directory.tables
import app.intake.hr_tables
import app.intake.tables
import app.journal.tables
import app.lifecycle.engagement_tables
import app.lifecycle.handover_tables
import app.lifecycle.hold_tables
import app.lifecycle.pulled_tables
import app.lifecycle.tables
import app.revocation.alarm_tables
import app.revocation.erasure_tables
import app.revocation.stream_tables
import app.revocation.sweep_tables
import app.revocation.tables
import app.rules.move_tables
import app.rules.stay_tables
import app.rules.tables  # noqa: F401  # imported for its effect, like all of them
