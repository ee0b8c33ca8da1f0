"""Which file system a store's URI means, and what keeps one from being opened."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import pyarrow.fs as pafs

CONNECT_SECONDS = 5.0
REQUEST_SECONDS = 30.0  # without any byte; a large file that flows takes as long as it takes
OPTIONS = ("region", "endpoint_override", "scheme", "anonymous", "force_virtual_addressing", "tls_ca_file_path")
HELP = {
    "s3": "credentials come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, or AWS_PROFILE) or from "
    "the machine's role, and the bucket has to be there",
    "gs": "credentials come from GOOGLE_APPLICATION_CREDENTIALS or from the machine's service account, and the bucket "
    "has to be there",
}


class StoreError(Exception):
    """The store cannot be used as asked; the message names the place and the reason."""


class Root(NamedTuple):
    """An opened file system and the folder in it that is the store."""

    fs: Any
    path: str
    shown: str  # what a person reads: no options, nothing secret


def open_root(uri: str) -> Root:
    """The root of a store: a folder, or any URI that pyarrow.fs can open. StoreError for what cannot be one.

    s3://BUCKET/PREFIX takes the options of pyarrow's S3FileSystem that are text or yes and no, such as
    ?endpoint_override=HOST:PORT&scheme=http for a server of one's own. Nothing is asked of a server yet.
    """
    if not uri.strip():
        raise StoreError("--store: is empty; give a folder or a URI")
    if "://" not in uri:
        path = str(Path(uri).expanduser().resolve())
        return Root(pafs.LocalFileSystem(), path, path)
    parts = urlsplit(uri)
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
    if "@" in parts.netloc:
        raise StoreError(f"--store {shown}: credentials in a URI end up in logs; {help_for(uri)}")
    if parts.scheme in HELP and not parts.netloc:
        raise StoreError(f"--store {shown}: names no bucket; {parts.scheme}://BUCKET/FOLDER is the form")
    try:
        if parts.scheme == "s3":
            return Root(_s3(shown, dict(parse_qsl(parts.query))), f"{parts.netloc}{parts.path}".rstrip("/"), shown)
        fs, root = pafs.FileSystem.from_uri(uri)
    except StoreError:
        raise
    except Exception as error:
        raise StoreError(f"--store {shown}: not a folder or a URI that pyarrow.fs can open ({error})") from error
    return Root(fs, root, uri if isinstance(fs, pafs.LocalFileSystem) else shown)


def help_for(uri: str) -> str:
    """What a person can do about a store that does not answer as it should."""
    return HELP.get(uri.partition("://")[0], "see that it is there, and that you may read and write it")


def _s3(shown: str, options: Mapping[str, str]) -> Any:
    if unknown := sorted(options.keys() - set(OPTIONS)):
        raise StoreError(f"--store {shown}: unknown option {unknown[0]!r} in the URI; valid: {', '.join(OPTIONS)}")
    chosen: dict[str, Any] = dict(options)
    for name in ("anonymous", "force_virtual_addressing"):
        if name in chosen:
            if chosen[name] not in ("true", "false"):
                raise StoreError(f"--store {shown}: {name} must be true or false, got {chosen[name]!r}")
            chosen[name] = chosen[name] == "true"
    if "region" not in chosen and (region := os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")):
        chosen["region"] = region
    if "region" not in chosen and "endpoint_override" in chosen:
        chosen["region"] = "us-east-1"  # a server of one's own has none; without, the SDK looks for it on the network
    return pafs.S3FileSystem(
        connect_timeout=float(os.environ.get("DECOYGRID_CONNECT_SECONDS", CONNECT_SECONDS)),
        request_timeout=float(os.environ.get("DECOYGRID_REQUEST_SECONDS", REQUEST_SECONDS)),
        allow_delayed_open=True,  # a small file is one request, not three
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=3),  # of a request; store_retries.py: of the whole
        **chosen,
    )
