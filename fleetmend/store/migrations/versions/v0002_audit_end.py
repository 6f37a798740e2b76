"""The end of the audit chain only moves on, by one record at a time, and is never removed."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_POSTGRESQL = (
    """
CREATE TRIGGER audit_head_moves_on BEFORE UPDATE ON audit_head FOR EACH ROW
WHEN (NEW.id <> OLD.id OR NEW.seq <> OLD.seq + 1)
EXECUTE FUNCTION fleetmend_audit_only_grows()
""",
    """
CREATE TRIGGER audit_head_never_removed BEFORE DELETE OR TRUNCATE ON audit_head
FOR EACH STATEMENT EXECUTE FUNCTION fleetmend_audit_only_grows()
""",
)
# INSERT OR REPLACE removes rows without asking the triggers on DELETE: refuse it where it begins.
_SQLITE = (
    """
CREATE TRIGGER audit_head_moves_on BEFORE UPDATE ON audit_head
WHEN NEW.id <> OLD.id OR NEW.seq <> OLD.seq + 1
BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END
""",
    """
CREATE TRIGGER audit_head_never_removed BEFORE DELETE ON audit_head
BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END
""",
    """
CREATE TRIGGER audit_head_never_replaced BEFORE INSERT ON audit_head
WHEN EXISTS (SELECT 1 FROM audit_head)
BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END
""",
    """
CREATE TRIGGER audit_never_replaced BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END
""",
)
_POSTGRESQL_NAMES = ("audit_head_moves_on", "audit_head_never_removed")
_SQLITE_NAMES = (*_POSTGRESQL_NAMES, "audit_head_never_replaced", "audit_never_replaced")


def upgrade() -> None:
    """Create the triggers."""
    for statement in _POSTGRESQL if _postgresql() else _SQLITE:
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    if _postgresql():
        for name in _POSTGRESQL_NAMES:
            op.execute(f"DROP TRIGGER {name} ON audit_head")
    else:
        for name in _SQLITE_NAMES:
            op.execute(f"DROP TRIGGER {name}")


def _postgresql() -> bool:
    return op.get_context().dialect.name == "postgresql"
