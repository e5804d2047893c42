"""Imports every module of tables, so that the metadata is whole."""

import app.access.tables
import app.audit.request_tables
import app.audit.tables
import app.directory.tables
import app.intake.tables
import app.journal.tables
import app.lifecycle.tables
import app.revocation.tables
import app.rules.tables  # noqa: F401  # imported for its effect, like all of them
