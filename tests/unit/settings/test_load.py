"""Settings come from named places, and every mistake names its place."""

from pathlib import Path

import pytest

from fleetmend.errors import SettingsError
from fleetmend.settings import load_settings

BAD = Path(__file__).parent / "bad"

MISTAKES = {
    "wrong_choice": ("line 2", "streams.engine"),
    "unknown_key": ("line 3", "unknown key 'streams.bootstraps'"),
    "unknown_section": ("line 2", "unknown key 'strems'"),
    "wrong_type": ("line 2", "ticks.period_s"),
    "out_of_range": ("line 2", "greater than 0"),
    "not_toml": ("not_toml.toml", "is not TOML"),
}


@pytest.mark.parametrize("mistake", sorted(p.stem for p in BAD.glob("*.toml")))
def test_each_mistake_names_its_file_its_line_and_its_key(mistake: str) -> None:
    place, what = MISTAKES[mistake]

    with pytest.raises(SettingsError) as caught:
        load_settings(path=BAD / f"{mistake}.toml")

    assert f"{mistake}.toml" in str(caught.value)
    assert place in str(caught.value)
    assert what in str(caught.value)


def test_later_sources_win_and_each_value_knows_its_origin(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('cluster = "from-file"\n\n[streams]\nengine = "kafka"\npartitions = 8\n')

    loaded = load_settings(
        path=file,
        environment={"FLEETMEND_STREAMS__PARTITIONS": "16", "HOME": "/root"},
        flags={"cluster": "from-flag"},
    )

    assert loaded.settings.cluster == "from-flag"
    assert loaded.settings.streams.engine == "kafka"
    assert loaded.settings.streams.partitions == 16
    assert loaded.origins == {
        "cluster": "flag",
        "streams.engine": f"{file} line 4",
        "streams.partitions": "environment FLEETMEND_STREAMS__PARTITIONS",
    }


def test_an_unknown_variable_with_our_prefix_is_refused() -> None:
    """A misspelt variable must not be ignored in silence."""
    with pytest.raises(SettingsError, match=r"FLEETMEND_STREMS__ENGINE.*unknown key 'strems"):
        load_settings(environment={"FLEETMEND_STREMS__ENGINE": "kafka"})


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingsError, match=r"absent\.toml: cannot be read"):
        load_settings(path=Path("absent.toml"))


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().settings.cluster = "other"


def test_a_preset_yields_to_every_other_source() -> None:
    loaded = load_settings(
        environment={"FLEETMEND_STREAMS__PARTITIONS": "2"},
        preset={"streams.partitions": 1, "streams.prefix": "demo."},
    )

    assert loaded.settings.streams.partitions == 2
    assert loaded.origins["streams.prefix"] == "preset"
