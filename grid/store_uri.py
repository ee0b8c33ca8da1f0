"""Which file system a store's URI means, and what keeps one from being opened."""

from __future__ import annotations

import datetime
import json
import os
import socket
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.fs as pafs

from grid.deadline import DeadlineError, within
from grid.store_address import FORMS, Address, StoreError, parse_address

CONNECT_SECONDS = 5.0
REQUEST_SECONDS = 30.0  # without any byte; a large file that flows takes as long as it takes
METADATA_SECONDS = 3.0  # in which a machine of Google's cloud says that it is one
GOOGLE_KEY = "GOOGLE_APPLICATION_CREDENTIALS"
_EMULATORS = ("CLOUD_STORAGE_EMULATOR_ENDPOINT", "STORAGE_EMULATOR_HOST")  # of Google's own; they ask for nothing


class Root(NamedTuple):
    """An opened file system and the folder in it that is the store."""

    fs: Any
    path: str
    shown: str  # what a person reads: no options, nothing secret


def open_root(uri: str) -> Root:
    """The root of a store: a folder, or any URI that pyarrow.fs can open. StoreError for what cannot be one.

    s3://BUCKET/PREFIX takes the options of pyarrow's S3FileSystem that are text or yes and no, such as
    ?endpoint_override=HOST:PORT&scheme=http for a server of one's own. The store's server is asked nothing yet.
    """
    address = parse_address(uri)
    if not address.scheme:
        return Root(pafs.LocalFileSystem(), address.path, address.shown)
    try:
        if address.scheme == "s3":
            return Root(_s3(address), address.path, address.shown)
        if address.scheme == "gs":
            return Root(_gs(address), address.path, address.shown)
        fs, root = pafs.FileSystem.from_uri(uri)
    except StoreError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StoreError(f"--store {address.shown}: pyarrow.fs cannot open it ({reason}); give {FORMS}") from error
    return Root(fs, root, address.shown)


def _s3(address: Address) -> Any:
    chosen = _chosen(address)
    if "region" not in chosen and (region := os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")):
        chosen["region"] = region
    if "region" not in chosen and "endpoint_override" in chosen:
        chosen["region"] = "us-east-1"  # a server of one's own has none; without, the SDK looks for it on the network
    return pafs.S3FileSystem(
        connect_timeout=_seconds("DECOYGRID_CONNECT_SECONDS", CONNECT_SECONDS, address),
        request_timeout=_seconds("DECOYGRID_REQUEST_SECONDS", REQUEST_SECONDS, address),
        allow_delayed_open=True,  # a small file is one request, not three
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=3),  # of a request; store_retries.py: of the whole
        **chosen,
    )


def _gs(address: Address) -> Any:
    chosen = _chosen(address)
    if not chosen.get("anonymous") and (reason := _no_google_credentials()) is not None:
        text = f"{reason}; set {GOOGLE_KEY} to a service account's key file, run `gcloud auth application-default "
        text += "login`, or say ?anonymous=true for a bucket that is open to all"
        raise StoreError(f"--store {address.shown}: {text}")
    seconds = _seconds("DECOYGRID_REQUEST_SECONDS", REQUEST_SECONDS, address)
    return pafs.GcsFileSystem(retry_time_limit=datetime.timedelta(seconds=max(1.0, seconds)), **chosen)


def _chosen(address: Address) -> dict[str, Any]:
    """The options as pyarrow takes them."""
    yes_or_no = {"true": True, "false": False}
    return {name: yes_or_no.get(value, value) for name, value in address.options.items()}


def _seconds(variable: str, usual: float, address: Address) -> float:
    text = os.environ.get(variable, str(usual))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise StoreError(f"--store {address.shown}: {variable} must be a number of seconds above 0, got {text!r}")
    return seconds


def _no_google_credentials() -> str | None:
    """Why Google's library would find no credentials, or None. Without any it asks the network for minutes."""
    if any(os.environ.get(name) for name in _EMULATORS):
        return None
    if named := os.environ.get(GOOGLE_KEY):
        return _no_key_file(named)
    adc = os.environ.get("GOOGLE_GCLOUD_ADC_PATH_OVERRIDE")
    home = os.environ.get("HOME")
    usual = Path(adc) if adc else Path(home or "/") / ".config" / "gcloud" / "application_default_credentials.json"
    if usual.is_file() or _is_on_google(os.environ.get("GCE_METADATA_ROOT") or "metadata.google.internal"):
        return None
    return "no credentials were found: no key file is named, and this is no machine of Google's cloud"


def _no_key_file(name: str) -> str | None:
    try:
        content = json.loads(Path(name).read_bytes())
    except OSError as error:
        return f"{GOOGLE_KEY} names {name!r}, which cannot be read ({error.strerror})"
    except ValueError:
        return f"{GOOGLE_KEY} names {name!r}, which is no JSON"
    return None if isinstance(content, dict) and "type" in content else f"{GOOGLE_KEY} names {name!r}, which is no key"


@cache
def _is_on_google(host: str) -> bool:
    """Whether the server that gives a machine of Google's cloud its account answers, within some seconds."""
    try:
        within(METADATA_SECONDS, lambda: socket.create_connection((host, 80), timeout=METADATA_SECONDS).close())
    except (OSError, DeadlineError):
        return False
    return True
