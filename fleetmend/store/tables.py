"""The tables. A change here needs a migration: `alembic check` in the tests compares the two.

Columns that are filtered or sorted on are real columns with indexes; the rest of a record lies
whole in a JSON column `body`. Times are Unix seconds.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

SEQUENCE = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite counts rows up by itself only for a column of type INTEGER."""

incidents = Table(
    "incidents",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("opened_at_s", Double, nullable=False),
    Column("body", JSON, nullable=False),
    Index(None, "opened_at_s", "id"),
    Index(None, "status", "opened_at_s", "id"),
    Index(None, "severity", "opened_at_s", "id"),
)

incident_versions = Table(
    "incident_versions",
    METADATA,
    Column("id", Text, ForeignKey("incidents.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("body", JSON, nullable=False),
)

plans = Table(
    "plans",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("incident", Text, ForeignKey("incidents.id"), nullable=False, index=True),
    Column("created_at_s", Double, nullable=False),
    Column("body", JSON, nullable=False),
)

sessions = Table(
    "sessions",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("plan", Text, nullable=False),
    Column("plan_version", Integer, nullable=False),
    Column("incident", Text, nullable=False, index=True),
    Column("entity", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("worker", Text, nullable=False),
    Column("lease_until_s", Double, nullable=False),
    Column("opened_at_s", Double, nullable=False),
    Column("updated_at_s", Double, nullable=False),
    Column("steps", JSON, nullable=False),
    Column("give_back", JSON, nullable=False),
    Column("reason", Text, nullable=False),
    ForeignKeyConstraint(["plan", "plan_version"], ["plans.id", "plans.version"]),
    Index(None, "active", "lease_until_s"),
    Index(None, "updated_at_s"),
)

holds = Table(
    "holds",
    METADATA,
    Column("node", Text, primary_key=True),
    Column("session", Text, ForeignKey("sessions.id"), nullable=False, index=True),
)
"""Which session holds which node: one row for each that is held, so two never hold one."""

approvals = Table(
    "approvals",
    METADATA,
    Column("plan", Text, primary_key=True),
    Column("plan_version", Integer, primary_key=True),
    Column("body", JSON, nullable=False),
    ForeignKeyConstraint(["plan", "plan_version"], ["plans.id", "plans.version"]),
)

verdicts = Table(
    "verdicts",
    METADATA,
    Column("seq", SEQUENCE, primary_key=True),
    Column("plan", Text, nullable=False),
    Column("plan_version", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("words", Text, nullable=False),
    Column("body", JSON, nullable=False),
    ForeignKeyConstraint(["plan", "plan_version"], ["plans.id", "plans.version"]),
    Index(None, "plan", "plan_version", "step", "seq"),
)

audit = Table(
    "audit",
    METADATA,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=False),
    Column("at_s", Double, nullable=False),
    Column("actor", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("subject", Text, nullable=False, index=True),
    Column("detail", JSON, nullable=False),
    Column("prev_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
)

audit_head = Table(
    "audit_head",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)
"""One row: the end of the chain. Appending locks it, so there is one sequence."""

outbox = Table(
    "outbox",
    METADATA,
    Column("seq", SEQUENCE, primary_key=True),
    Column("id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("receiver", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    Column("at_s", Double, nullable=False),
    Column("due_s", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("detail", Text, nullable=False),
    UniqueConstraint("id"),
    Index(None, "state", "due_s"),
    Index(None, "kind", "receiver", "lane", "state", "seq"),
)

dead_letters = Table(
    "dead_letters",
    METADATA,
    Column("seq", SEQUENCE, primary_key=True),
    Column("at_s", Double, nullable=False),
    Column("source", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
)

dead_letter_counts = Table(
    "dead_letter_counts",
    METADATA,
    Column("source", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
)

snapshots = Table(
    "snapshots",
    METADATA,
    Column("fold", Text, primary_key=True),
    Column("tick", BigInteger, primary_key=True),
    Column("saved_at_s", Double, nullable=False),
    Column("blob", LargeBinary, nullable=False),
)

positions = Table(
    "positions",
    METADATA,
    Column("consumer", Text, primary_key=True),
    Column("positions", JSON, nullable=False),
    Column("updated_at_s", Double, nullable=False),
)

series = Table(
    "series",
    METADATA,
    Column("incident", Text, ForeignKey("incidents.id"), primary_key=True),
    Column("entity", Text, primary_key=True),
    Column("signal", Text, primary_key=True),
    Column("unit", Text, nullable=False),
    Column("times", JSON, nullable=False),
    Column("samples", JSON, nullable=False),
)

notes = Table(
    "notes",
    METADATA,
    Column("seq", SEQUENCE, primary_key=True),
    Column("incident", Text, ForeignKey("incidents.id"), nullable=False, index=True),
    Column("by", Text, nullable=False),
    Column("at_s", Double, nullable=False),
    Column("text", Text, nullable=False),
)

labels = Table(
    "labels",
    METADATA,
    Column("incident", Text, ForeignKey("incidents.id"), primary_key=True),
    Column("cause", Text, primary_key=True),
    Column("entity", Text, primary_key=True),
    Column("by", Text, primary_key=True),
    Column("verdict", Text, nullable=False),
    Column("at_s", Double, nullable=False),
)

notices = Table(
    "notices",
    METADATA,
    Column("receiver", Text, primary_key=True),
    Column("incident", Text, ForeignKey("incidents.id"), primary_key=True),
    Column("body", JSON, nullable=False),
)
"""What each receiver was last told about each incident."""

receivers_off = Table(
    "receivers_off",
    METADATA,
    Column("receiver", Text, primary_key=True),
    Column("target", Text, nullable=False),
    Column("at_s", Double, nullable=False),
    Column("detail", Text, nullable=False),
)
"""Receivers that asked to be left alone (HTTP 410)."""

coverage = Table(
    "coverage",
    METADATA,
    Column("entity", Text, primary_key=True),
    Column("key", Text, nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("pool", Text, nullable=False),
    Column("node", Text, nullable=False, index=True),
    Column("state", Text, nullable=False),
    Column("at_s", Double, nullable=False),
    Column("body", JSON, nullable=False),
    Index(None, "kind", "entity"),
    Index(None, "pool", "entity"),
    Index(None, "state", "entity"),
)
"""What should be heard of each entity and how well it is: the newest entry of the ledger."""
