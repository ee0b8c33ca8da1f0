"""What a store's URI may be, what is said of one that may not, and that a store which does not answer is given up."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from grid import store_access, store_uri
from grid.places import open_store
from grid.problems import SpecError
from grid.store import Store
from grid.store_address import StoreError, parse_address
from grid.store_uri import open_root


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials, and a home without any."""
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_GCLOUD_ADC_PATH_OVERRIDE", *store_uri._EMULATORS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("GCE_METADATA_ROOT", "nobody.invalid")
    monkeypatch.setenv("DECOYGRID_CACHE", str(tmp_path / "cache"))
    store_uri._is_on_google.cache_clear()


@pytest.fixture
def silent() -> Iterator[str]:
    """HOST:PORT of a server that takes connections and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("", r"--store: is empty; give a folder, .*s3://BUCKET/FOLDER"),
        ("s3://", r"--store s3://: names no bucket; s3://BUCKET/FOLDER is the form"),
        ("gs://", r"--store gs://: names no bucket; gs://BUCKET/FOLDER"),
        ("s3:////", r"--store s3:////: names no bucket; s3://BUCKET/FOLDER"),
        ("s3:///x", r"names no bucket"),
        ("s3:/x", r"--store s3:/x: two slashes have to follow s3: \(s3://BUCKET/FOLDER\)"),
        ("s3:x", r"two slashes"),
        ("GS:/x", r"two slashes have to follow GS: \(gs://BUCKET/FOLDER\)"),
        ("file:/x", r"two slashes have to follow file: \(file:///ABSOLUTE/FOLDER\)"),
        ("/s3://bucket/x", r"does not begin as a URI does"),
        ("s3://bucket/x\n", r"--store s3://bucket/x: .*cannot be seen"),
        ("s3://bucket:99999/x", r"'bucket:99999' is no bucket's name .*endpoint_override=HOST:PORT"),
        ("s3://my bucket/x", r"'my bucket' is no bucket's name"),
        ("s3://[::1/x", r"is no URI \(Invalid IPv6 URL\); give a folder"),
        ("s3://[::g]/x", r"--store s3://\[::g\]/x: is no URI"),
        ("s3://bucket/a//b", r"'/a//b' has a part that is empty"),
        ("s3://bucket/../b", r"'/../b' has a part that is empty, '\.' or '\.\.'"),
        ("s3://bucket/x#part", r"'#part' means nothing in a store's URI; leave it out"),
        ("s3://bucket/x#", r"'#' means nothing"),
        ("file:///x?a=b", r"'\?a=b': a folder takes no options"),
        ("s3://bucket/x?endpoint=host", r"unknown option 'endpoint'.*endpoint_override"),
        ("gs://bucket/x?region=eu", r"unknown option 'region'.*valid: endpoint_override, scheme, anonymous"),
        ("s3://bucket/x?endpoint_override=", r"'endpoint_override' has no value; endpoint_override=VALUE is the form"),
        ("s3://bucket/x?region", r"'region' has no value"),
        ("s3://bucket/x?region=a&region=b", r"'region' stands there twice \('a', 'b'\)"),
        ("s3://bucket/x?region=a&", r"unknown option ''"),
        ("s3://bucket/x?anonymous=yes", r"anonymous must be true or false, got 'yes'"),
        ("s3://bucket/x?scheme=ftp", r"scheme must be http or https, got 'ftp'"),
        ("s3://bucket/x?endpoint_override=host:70000", r"port from 1 to 65535, got 'host:70000'"),
        ("s3://bucket/x?endpoint_override=[::1", r"must be HOST or HOST:PORT.*got '\[::1'"),
        ("s3://bucket/x?endpoint_override=http://host", r"got 'http://host'; scheme=http"),
        ("ftp://host/x", r"--store ftp://host/x: pyarrow.fs cannot open it .*give a folder"),
    ],
)
def test_what_cannot_be_a_store_is_one_error(uri: str, said: str) -> None:
    with pytest.raises(StoreError, match=said) as caught:
        open_root(uri)
    assert "\n" not in str(caught.value)
    with pytest.raises(SpecError) as refused:  # exit 2
        open_store(uri)
    assert len(refused.value.problems) == 1


@pytest.mark.parametrize("uri", ["s3://AKIA:hunter2@bucket/x", "s3:/AKIA:hunter2@bucket/x", "/s3://a:hunter2@bucket"])
def test_a_secret_in_a_uri_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(StoreError) as caught:
        open_root(uri)
    assert "hunter2" not in str(caught.value)


def test_where_credentials_belong_is_said() -> None:
    with pytest.raises(StoreError, match="AWS_SECRET_ACCESS_KEY"):
        open_root("s3://AKIA:hunter2@bucket/x")


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("s3://bucket", "bucket"),
        ("S3://bucket/", "bucket"),
        ("s3://bucket/a/b/?region=eu-west-1", "bucket/a/b"),
        ("s3://bucket/a b/ü", "bucket/a b/ü"),
        ("gcs://my_bucket.x/a?anonymous=true", "my_bucket.x/a"),
        ("s3://bucket/x?endpoint_override=[::1]:9000&scheme=http", "bucket/x"),
        ("/tmp/a b", "/tmp/a b"),
        ("/tmp/a:b", "/tmp/a:b"),
    ],
)
def test_what_can_be_a_store(uri: str, path: str) -> None:
    assert parse_address(uri).path == path


def test_options_are_not_part_of_what_is_shown() -> None:
    root = open_root("s3://bucket/some/where?endpoint_override=localhost:1&scheme=http")
    assert (root.path, root.shown) == ("bucket/some/where", "s3://bucket/some/where")


def test_gs_without_credentials_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Google's own library asks the network for three minutes."""
    began = time.monotonic()
    with pytest.raises(SpecError, match=r"no credentials were found.*GOOGLE_APPLICATION_CREDENTIALS.*anonymous=true"):
        open_store("gs://bucket/x")
    for name, content, said in (("none", None, "cannot be read"), ("text", "{", "no JSON"), ("list", "[]", "no key")):
        if content is not None:
            (tmp_path / name).write_text(content)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / name))
        with pytest.raises(SpecError, match=f"GOOGLE_APPLICATION_CREDENTIALS names '.*{name}', which .*{said}"):
            open_store("gs://bucket/x")
    (tmp_path / "key.json").write_text(json.dumps({"type": "service_account"}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    assert store_uri._no_google_credentials() is None
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("scheme", ["s3", "gs"])
@pytest.mark.parametrize("writable", [True, False])
def test_a_server_that_says_nothing_is_given_up(
    silent: str, scheme: str, writable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_access, "OPEN_SECONDS", 0.3)
    began = time.monotonic()
    with pytest.raises(SpecError, match=rf"--store {scheme}://bucket/x: cannot be (read|written) \(no answer within"):
        open_store(f"{scheme}://bucket/x?endpoint_override={silent}&scheme=http&anonymous=true", writable=writable)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("text", ["0", "-1", "soon", "inf", "nan"])
def test_seconds_that_cannot_be_are_said(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECOYGRID_REQUEST_SECONDS", text)
    with pytest.raises(
        StoreError, match=f"DECOYGRID_REQUEST_SECONDS must be a number of seconds above 0, got '{text}'"
    ):
        Store("s3://bucket/x?region=eu-west-1")


@pytest.mark.parametrize("text", ["-1", "many", "nan", "inf"])
def test_a_cache_that_cannot_be_is_said(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECOYGRID_CACHE_GB", text)
    with pytest.raises(StoreError, match=f"DECOYGRID_CACHE_GB must be a number of gigabytes.*'{text}'"):
        Store("s3://bucket/x?region=eu-west-1")


def test_a_folder_needs_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECOYGRID_CACHE_GB", "many")
    assert Store(str(tmp_path)).local
