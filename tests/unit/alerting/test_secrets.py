"""Secrets are read when needed, and said to nobody."""

from pathlib import Path

import pytest

from alerting.secrets import SecretFile
from fleetmend.errors import PortError


def test_an_exchanged_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("one\n\n two \n")
    secret = SecretFile(str(path))
    assert secret.lines() == ("one", "two")

    path.write_text("three")
    assert secret.lines() == ("three",)


@pytest.mark.parametrize("content", [b"", b"\n \n", b"x" * 5000, "gehe\u00efm".encode()])
def test_a_file_without_a_usable_secret_is_an_error_that_repeats_nothing(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)

    with pytest.raises(PortError) as error:
        SecretFile(str(path)).lines()
    assert "geheim" not in str(error.value)
    assert "xxx" not in str(error.value)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__ or error.value.__context__ is None


def test_a_missing_file_is_tried_again_later(tmp_path: Path) -> None:
    with pytest.raises(PortError, match="No such file"):
        SecretFile(str(tmp_path / "none")).lines()
