"""What a store's URI may be, and what is said of one that may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from grid.store import Store
from grid.store_uri import StoreError, open_root


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("", "is empty"),
        ("s3://", "names no bucket"),
        ("gs://", "names no bucket"),
        ("s3://bucket/x?endpoint=host", "unknown option 'endpoint'.*endpoint_override"),
        ("s3://bucket/x?anonymous=yes", "anonymous must be true or false, got 'yes'"),
        ("ftp://host/x", "pyarrow.fs can open"),
    ],
)
def test_what_cannot_be_a_store_is_said(uri: str, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        open_root(uri)


def test_a_secret_in_a_uri_is_refused_and_not_repeated() -> None:
    with pytest.raises(StoreError) as caught:
        open_root("s3://AKIA:hunter2@bucket/x")
    assert "hunter2" not in str(caught.value)
    assert "AWS_SECRET_ACCESS_KEY" in str(caught.value)


def test_options_are_not_part_of_what_is_shown() -> None:
    root = open_root("s3://bucket/some/where?endpoint_override=localhost:1&scheme=http")
    assert (root.path, root.shown) == ("bucket/some/where", "s3://bucket/some/where")


@pytest.mark.parametrize("text", ["-1", "many", "nan", "inf"])
def test_a_cache_that_cannot_be_is_said(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECOYGRID_CACHE_GB", text)
    with pytest.raises(StoreError, match=f"DECOYGRID_CACHE_GB must be a number of gigabytes.*'{text}'"):
        Store("s3://bucket/x?region=eu-west-1")


def test_a_folder_needs_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECOYGRID_CACHE_GB", "many")
    assert Store(str(tmp_path)).local
