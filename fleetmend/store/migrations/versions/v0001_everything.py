"""Everything the store holds, from nothing."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_REFUSE_FUNCTION = """
CREATE FUNCTION fleetmend_audit_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log only grows';
END $$
"""
_REFUSE_ROWS = """
CREATE TRIGGER audit_only_grows BEFORE UPDATE OR DELETE ON audit
FOR EACH ROW EXECUTE FUNCTION fleetmend_audit_only_grows()
"""
_REFUSE_TRUNCATE = """
CREATE TRIGGER audit_never_emptied BEFORE TRUNCATE ON audit
FOR EACH STATEMENT EXECUTE FUNCTION fleetmend_audit_only_grows()
"""
_REFUSE_SQLITE = """
CREATE TRIGGER audit_never_{verb}d BEFORE {verb} ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END
"""


def upgrade() -> None:
    """Create all tables, and the triggers that keep the audit log append-only."""
    _create_incidents()
    _create_remediation()
    _create_audit()
    _create_delivery()
    _create_folds()


def downgrade() -> None:
    """Drop everything, the audit log included."""
    op.drop_table("verdicts")
    op.drop_table("approvals")
    op.drop_table("sessions")
    op.drop_table("plans")
    op.drop_table("labels")
    op.drop_table("notes")
    op.drop_table("series")
    op.drop_table("notices")
    op.drop_table("incident_versions")
    op.drop_table("incidents")
    op.drop_table("audit_head")
    op.drop_table("audit")
    op.drop_table("outbox")
    op.drop_table("receivers_off")
    op.drop_table("dead_letters")
    op.drop_table("dead_letter_counts")
    op.drop_table("snapshots")
    op.drop_table("positions")
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION fleetmend_audit_only_grows()")


def _create_incidents() -> None:
    """Incidents, and what people see and say of them."""
    op.create_table(
        "incidents",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("opened_at_s", sa.Double(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_incidents"),
    )
    op.create_index("ix_incidents_opened_at_s_id", "incidents", ["opened_at_s", "id"])
    op.create_index(
        "ix_incidents_severity_opened_at_s_id", "incidents", ["severity", "opened_at_s", "id"]
    )
    op.create_index(
        "ix_incidents_status_opened_at_s_id", "incidents", ["status", "opened_at_s", "id"]
    )
    op.create_table(
        "incident_versions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["id"], ["incidents.id"], name="fk_incident_versions_id"),
        sa.PrimaryKeyConstraint("id", "version", name="pk_incident_versions"),
    )
    op.create_table(
        "series",
        sa.Column("incident", sa.Text(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("signal", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("times", sa.JSON(), nullable=False),
        sa.Column("samples", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["incident"], ["incidents.id"], name="fk_series_incident"),
        sa.PrimaryKeyConstraint("incident", "entity", "signal", name="pk_series"),
    )
    op.create_table(
        "notes",
        sa.Column("seq", _SEQUENCE, nullable=False),
        sa.Column("incident", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at_s", sa.Double(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["incident"], ["incidents.id"], name="fk_notes_incident"),
        sa.PrimaryKeyConstraint("seq", name="pk_notes"),
    )
    op.create_index("ix_notes_incident", "notes", ["incident"])
    op.create_table(
        "labels",
        sa.Column("incident", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("at_s", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["incident"], ["incidents.id"], name="fk_labels_incident"),
        sa.PrimaryKeyConstraint("incident", "cause", "entity", "by", name="pk_labels"),
    )


def _create_remediation() -> None:
    """Plans and what is decided and done about them."""
    op.create_table(
        "plans",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("incident", sa.Text(), nullable=False),
        sa.Column("created_at_s", sa.Double(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["incident"], ["incidents.id"], name="fk_plans_incident"),
        sa.PrimaryKeyConstraint("id", "version", name="pk_plans"),
    )
    op.create_index("ix_plans_incident", "plans", ["incident"])
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("plan_version", sa.Integer(), nullable=False),
        sa.Column("incident", sa.Text(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("lease_until_s", sa.Double(), nullable=False),
        sa.Column("opened_at_s", sa.Double(), nullable=False),
        sa.Column("updated_at_s", sa.Double(), nullable=False),
        sa.Column("steps", sa.JSON(), nullable=False),
        sa.Column("give_back", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["plan", "plan_version"],
            ["plans.id", "plans.version"],
            name="fk_sessions_plan_plan_version",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
    )
    op.create_index("ix_sessions_active_lease_until_s", "sessions", ["active", "lease_until_s"])
    op.create_index("ix_sessions_incident", "sessions", ["incident"])
    op.create_index("ix_sessions_updated_at_s", "sessions", ["updated_at_s"])
    op.create_index(
        "uq_sessions_active_node",
        "sessions",
        ["node"],
        unique=True,
        sqlite_where=sa.text("active"),
        postgresql_where=sa.text("active"),
    )
    op.create_table(
        "approvals",
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("plan_version", sa.Integer(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["plan", "plan_version"],
            ["plans.id", "plans.version"],
            name="fk_approvals_plan_plan_version",
        ),
        sa.PrimaryKeyConstraint("plan", "plan_version", name="pk_approvals"),
    )
    op.create_table(
        "verdicts",
        sa.Column("seq", _SEQUENCE, nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("plan_version", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["plan", "plan_version"],
            ["plans.id", "plans.version"],
            name="fk_verdicts_plan_plan_version",
        ),
        sa.PrimaryKeyConstraint("seq", name="pk_verdicts"),
    )
    op.create_index(
        "ix_verdicts_plan_plan_version_step_seq",
        "verdicts",
        ["plan", "plan_version", "step", "seq"],
    )


def _create_audit() -> None:
    """The audit chain: it only grows, and the database itself sees to it."""
    op.create_table(
        "audit",
        sa.Column("seq", _SEQUENCE, autoincrement=False, nullable=False),
        sa.Column("at_s", sa.Double(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("verb", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("prev_hash", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit"),
    )
    op.create_index("ix_audit_subject", "audit", ["subject"])
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.CheckConstraint("id = 1", name="ck_audit_head_one_row"),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
    op.execute(f"INSERT INTO audit_head (id, seq, hash) VALUES (1, 0, '{'0' * 64}')")  # noqa: S608
    if op.get_context().dialect.name == "postgresql":
        op.execute(_REFUSE_FUNCTION)
        op.execute(_REFUSE_ROWS)
        op.execute(_REFUSE_TRUNCATE)
    else:
        op.execute(_REFUSE_SQLITE.format(verb="update"))
        op.execute(_REFUSE_SQLITE.format(verb="delete"))


def _create_delivery() -> None:
    """What leaves the platform, and what could not be used."""
    op.create_table(
        "outbox",
        sa.Column("seq", _SEQUENCE, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("receiver", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("at_s", sa.Double(), nullable=False),
        sa.Column("due_s", sa.Double(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_outbox"),
        sa.UniqueConstraint("id", name="uq_outbox_id"),
    )
    op.create_index(
        "ix_outbox_kind_receiver_lane_state_seq",
        "outbox",
        ["kind", "receiver", "lane", "state", "seq"],
    )
    op.create_index("ix_outbox_state_due_s", "outbox", ["state", "due_s"])
    op.create_table(
        "notices",
        sa.Column("receiver", sa.Text(), nullable=False),
        sa.Column("incident", sa.Text(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["incident"], ["incidents.id"], name="fk_notices_incident"),
        sa.PrimaryKeyConstraint("receiver", "incident", name="pk_notices"),
    )
    op.create_table(
        "receivers_off",
        sa.Column("receiver", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("at_s", sa.Double(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("receiver", name="pk_receivers_off"),
    )
    op.create_table(
        "dead_letters",
        sa.Column("seq", _SEQUENCE, nullable=False),
        sa.Column("at_s", sa.Double(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_dead_letters"),
    )
    op.create_table(
        "dead_letter_counts",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", name="pk_dead_letter_counts"),
    )


def _create_folds() -> None:
    """What folds leave here."""
    op.create_table(
        "snapshots",
        sa.Column("fold", sa.Text(), nullable=False),
        sa.Column("tick", sa.BigInteger(), nullable=False),
        sa.Column("saved_at_s", sa.Double(), nullable=False),
        sa.Column("blob", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("fold", "tick", name="pk_snapshots"),
    )
    op.create_table(
        "positions",
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("positions", sa.JSON(), nullable=False),
        sa.Column("updated_at_s", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("consumer", name="pk_positions"),
    )
