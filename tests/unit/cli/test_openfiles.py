"""A log or store that was taken away under the process is noticed."""

from pathlib import Path

import pytest

from fleetmend.cli.openfiles import OpenFiles, files_of
from fleetmend.settings import load_settings


@pytest.mark.parametrize("way", ["deleted", "replaced"])
def test_a_file_that_is_gone_or_another_is_said(tmp_path: Path, way: str) -> None:
    path = tmp_path / "store.db"
    path.write_text("")
    files = OpenFiles([path])
    assert files.unready() == []

    path.rename(tmp_path / "aside")  # keeps the old one's number taken, as an open file does
    if way == "replaced":
        path.write_text("")

    [said] = files.unready()
    assert f"store.db was {way}" in said


def test_log_and_store_are_watched_where_they_are_files(tmp_path: Path) -> None:
    here = {"streams.path": f"{tmp_path}/log.db", "store.url": f"sqlite:///{tmp_path}/s.db"}
    elsewhere = {"streams.engine": "kafka", "store.url": "postgresql://u@127.0.0.1/x"}
    assert files_of(load_settings(flags=here).settings) == [tmp_path / "log.db", tmp_path / "s.db"]
    assert files_of(load_settings(flags=elsewhere).settings) == []
