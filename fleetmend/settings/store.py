"""Settings of the store: incidents, plans, sessions, approvals, audit."""

from pydantic import Field

from fleetmend.settings.section import Section


class StoreSettings(Section):
    """Where truth lies, and how much of what may be forgotten is kept."""

    url: str = "sqlite:///var/store.db"
    """Database, as a URL: `sqlite:///PATH` for one machine, `postgresql://USER@HOST/NAME` for a
    fleet. SQLite: nothing to set up."""
    busy_timeout_s: float = Field(default=10.0, gt=0)
    """Seconds to wait for a lock before giving up. 10: a hundred times a slow commit."""
    connections_max: int = Field(default=20, ge=1, le=500)
    """Connections that one process opens at most. 20: every thread of a console and some spare."""
    audit_key_file: str = ""
    """File that holds a secret of at least 32 characters which goes into every hash of the audit
    log, the same for every process that writes to the store. Empty: no key, and who can rewrite the
    whole database can rewrite the log. With it they cannot, unless they can read this file too."""
    dead_letters_max: int = Field(default=1000, ge=1, le=100_000)
    """Dead letters kept, the newest; at 4 KiB each 1000 are 4 MB. Counts are never forgotten."""
    snapshots_kept: int = Field(default=3, ge=1, le=100)
    """Snapshots kept of each fold. 3: the newest may be of a version that has to be rolled back."""
    series_points_max: int = Field(default=600, ge=10, le=100_000)
    """Points of one evidence chart; a longer one keeps the lowest and highest of each stretch. 600:
    half an hour at 1 Hz to within six seconds, and about the pixels of a chart."""
    series_max: int = Field(default=64, ge=1, le=1000)
    """Evidence charts of one incident. 64: more than anybody looks at."""
