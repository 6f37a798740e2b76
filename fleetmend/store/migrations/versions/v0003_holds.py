"""A session holds every node that its plan touches, not only the first; one that may not act holds
none."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TAKE_OVER = """
INSERT INTO holds (node, session) SELECT node, id FROM sessions WHERE active
"""
# Sessions that hold nothing get a name of their own, since active ones must differ.
_GIVE_UP = """
UPDATE sessions SET node = coalesce(
    (SELECT min(holds.node) FROM holds WHERE holds.session = sessions.id), sessions.id)
"""


def upgrade() -> None:
    """What active sessions hold becomes rows of its own."""
    op.create_table(
        "holds",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["session"], ["sessions.id"], name="fk_holds_session"),
        sa.PrimaryKeyConstraint("node", name="pk_holds"),
    )
    op.create_index("ix_holds_session", "holds", ["session"])
    op.execute(_TAKE_OVER)
    op.drop_index("uq_sessions_active_node", "sessions")
    op.drop_column("sessions", "node")


def downgrade() -> None:
    """The first node of each session alone."""
    op.add_column("sessions", sa.Column("node", sa.Text(), nullable=False, server_default=""))
    op.execute(_GIVE_UP)
    op.create_index(
        "uq_sessions_active_node",
        "sessions",
        ["node"],
        unique=True,
        sqlite_where=sa.text("active"),
        postgresql_where=sa.text("active"),
    )
    op.drop_table("holds")
