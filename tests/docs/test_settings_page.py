"""docs/settings.md is what the settings say of themselves."""

from pathlib import Path

from fleetmend.settings.page import settings_page
from fleetmend.settings.root import Settings
from fleetmend.settings.section import Section

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def undocumented(section: type[Section]) -> list[str]:
    found = []
    for name, field in section.model_fields.items():
        if not field.description:
            found.append(f"{section.__name__}.{name}")
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found += undocumented(field.annotation)
    return found


def test_every_setting_is_documented_under_its_field() -> None:
    assert undocumented(Settings) == []


def test_the_page_is_in_step_with_the_settings() -> None:
    assert PAGE.read_text() == settings_page(), "run: fleetmend settings page > docs/settings.md"
