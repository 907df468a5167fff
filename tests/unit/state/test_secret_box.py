"""Secrets at rest: of no use without the key, in no other place, and nobody else's to read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapectl.state.secret_box import KEY_BYTES, SecretBox, SecretKeyError, UnsealError, key_path

SECRET = b"correct horse battery"


@pytest.fixture
def state_path(tmp_path: Path) -> Path:
    path = tmp_path / "tapectl.db"
    path.touch()
    return path


def box(state_path: Path) -> SecretBox:
    found = SecretBox.open(state_path, create=True)
    assert found is not None
    return found


def test_what_is_sealed_opens_with_the_same_key_at_its_place(state_path: Path) -> None:
    sealed = box(state_path).seal(SECRET, "here")
    assert SECRET not in sealed
    assert box(state_path).unseal(sealed, "here") == SECRET
    with pytest.raises(UnsealError):
        box(state_path).unseal(sealed, "there")


@pytest.mark.parametrize("sealed", [b"", b"short", bytes(60)])
def test_what_was_never_sealed_does_not_open(state_path: Path, sealed: bytes) -> None:
    with pytest.raises(UnsealError):
        box(state_path).unseal(sealed, "here")


def test_another_key_does_not_open(state_path: Path) -> None:
    sealed = box(state_path).seal(SECRET, "here")
    key_path(state_path).unlink()
    with pytest.raises(UnsealError):
        box(state_path).unseal(sealed, "here")


def test_the_key_is_its_owners_alone(state_path: Path) -> None:
    box(state_path)
    path = key_path(state_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_bytes()) == KEY_BYTES
    path.chmod(0o640)
    with pytest.raises(SecretKeyError, match="others may read"):
        SecretBox.open(state_path)


def test_a_damaged_key_is_told(state_path: Path) -> None:
    box(state_path)
    key_path(state_path).write_bytes(b"short")
    with pytest.raises(SecretKeyError, match="damaged"):
        SecretBox.open(state_path)


def test_no_key_is_made_by_reading(state_path: Path) -> None:
    assert SecretBox.open(state_path) is None
    assert not key_path(state_path).exists()
