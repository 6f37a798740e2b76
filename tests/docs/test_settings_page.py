"""docs/settings.md is what the settings say of themselves."""

from pathlib import Path

import pytest

from fleetmend.settings.alerting import ReceiverSettings
from fleetmend.settings.collectors import KernelLogSettings, TargetSettings
from fleetmend.settings.console import PersonSettings
from fleetmend.settings.page import entries, settings_page
from fleetmend.settings.remediation import PoolSettings
from fleetmend.settings.root import Settings
from fleetmend.settings.section import Section
from fleetmend.settings.simulator import SimulatedPool

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def undocumented(section: type[Section]) -> list[str]:
    found = []
    for name, field in section.model_fields.items():
        if not field.description:
            found.append(f"{section.__name__}.{name}")
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found += undocumented(field.annotation)
        for _, entry in entries(field.annotation):
            found += undocumented(entry)
    return found


def test_every_setting_is_documented_under_its_field() -> None:
    assert undocumented(Settings) == []


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        (TargetSettings, "collectors.targets[]"),
        (KernelLogSettings, "collectors.kernel_logs[]"),
        (ReceiverSettings, "alerting.receivers[]"),
        (PersonSettings, "console.people[]"),
        (PoolSettings, "remediation.pools.NAME"),
        (SimulatedPool, "simulator.pools[]"),
    ],
)
def test_what_an_entry_of_a_list_or_table_holds_is_listed(entry: type[Section], place: str) -> None:
    for name in entry.model_fields:
        assert f"`{place}.{name}" in settings_page()


def test_the_page_is_in_step_with_the_settings() -> None:
    assert PAGE.read_text() == settings_page(), "run: fleetmend settings page > docs/settings.md"
