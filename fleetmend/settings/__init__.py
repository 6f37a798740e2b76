"""Every setting of fleetmend, one module per section, documented under each field."""

from fleetmend.settings.load import Loaded, load_settings
from fleetmend.settings.root import Settings

__all__ = ["Loaded", "Settings", "load_settings"]
