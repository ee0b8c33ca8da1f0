"""What a store's URI says, taken apart and checked as text: no file system is opened and no server asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlsplit

CLOUDS = {"s3": "s3", "gs": "gs", "gcs": "gs"}  # as it may be written: as it is called here
OPTIONS = {
    "s3": ("region", "endpoint_override", "scheme", "anonymous", "force_virtual_addressing", "tls_ca_file_path"),
    "gs": ("endpoint_override", "scheme", "anonymous"),
}
HELP = {
    "s3": "credentials come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, or AWS_PROFILE) or from "
    "the machine's role, and the bucket has to be there",
    "gs": "credentials come from GOOGLE_APPLICATION_CREDENTIALS or from the machine's service account, and the bucket "
    "has to be there",
}
FORMS = "a folder, file:///ABSOLUTE/FOLDER, s3://BUCKET/FOLDER or gs://BUCKET/FOLDER"
_YES_OR_NO = ("anonymous", "force_virtual_addressing")
_BEGINNING = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(/*)")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MOST_PORT = 65535


class StoreError(Exception):
    """The store cannot be used as asked; the message names the place and the reason."""


class Address(NamedTuple):
    """A store's place. `path`: the folder, or BUCKET/FOLDER; `scheme` is empty for a folder of this machine."""

    scheme: str
    path: str
    options: Mapping[str, str]
    shown: str  # what a person reads: no options, nothing secret


def parse_address(uri: str) -> Address:
    """Take a folder or a URI apart. StoreError, with the valid form, for what can be no store or says a thing twice."""
    if not uri.strip():
        raise StoreError(f"--store: is empty; give {FORMS}")
    begins = _BEGINNING.match(uri.strip())
    scheme, slashes = (begins[1].lower(), begins[2]) if begins is not None else ("", "")
    ours = scheme in CLOUDS or scheme == "file"
    if not ours and not slashes.startswith("//") and "://" not in uri:
        return _folder(uri)
    shown = _without_secrets(uri)
    if uri != uri.strip() or not uri.isprintable() or begins is None:
        shown = re.sub(r"[^/]*@", "", shown)
        text = f"{shown!r} does not begin as a URI does, or holds or ends in what cannot be seen; give {FORMS}"
        raise _problem(shown.strip(), text)
    if not slashes.startswith("//"):
        form = "file:///ABSOLUTE/FOLDER" if scheme == "file" else f"{scheme}://BUCKET/FOLDER"
        raise _problem(shown, f"two slashes have to follow {begins[1]}: ({form}); a folder of that name is ./{shown}")
    parts = _split(uri, shown)
    if "#" in uri:
        raise _problem(shown, f"'#{parts.fragment}' means nothing in a store's URI; leave it out")
    if "@" in parts.netloc:
        raise _problem(shown, f"credentials in a URI end up in logs; {help_for(uri)}")
    if scheme in CLOUDS:
        return _cloud(CLOUDS[scheme], parts, shown)
    if scheme == "file":
        return _file(parts, uri)
    return Address(scheme, uri, {}, shown)


def help_for(uri: str) -> str:
    """What a person can do about a store that does not answer as it should."""
    scheme = CLOUDS.get(uri.partition(":")[0].lower(), "")
    return HELP.get(scheme, "see that it is there, and that you may read and write it")


def _folder(text: str) -> Address:
    if "\0" in text:
        raise StoreError(f"--store {text!r}: no folder's name has a zero byte; give {FORMS}")
    path = str(Path(text).expanduser().resolve())
    return Address("", path, {}, path)


def _split(uri: str, shown: str) -> SplitResult:
    try:
        return urlsplit(uri)
    except ValueError as error:  # brackets that hold no IPv6 address
        raise _problem(shown, f"is no URI ({error}); give {FORMS}") from error


def _file(parts: SplitResult, uri: str) -> Address:
    if "?" in uri:
        raise _problem(_without_secrets(uri), f"'?{parts.query}': a folder takes no options; leave them out")
    return Address("file", uri, {}, uri)


def _cloud(scheme: str, parts: SplitResult, shown: str) -> Address:
    """A bucket and a folder in it."""
    form = f"{scheme}://BUCKET/FOLDER is the form"
    if not parts.netloc:
        raise _problem(shown, f"names no bucket; {form}")
    if not _BUCKET.fullmatch(parts.netloc):
        text = f"{parts.netloc!r} is no bucket's name (letters, digits, '-', '.' and '_'; no port); {form}"
        raise _problem(shown, f"{text}, and a server of your own is named by ?endpoint_override=HOST:PORT")
    folders = parts.path.strip("/").split("/") if parts.path.strip("/") else []
    if parts.path.startswith("//") or any(name in ("", ".", "..") for name in folders):
        raise _problem(shown, f"{parts.path!r} has a part that is empty, '.' or '..'; {form}")
    return Address(scheme, "/".join([parts.netloc, *folders]), _options(scheme, parts.query, shown), shown)


def _options(scheme: str, query: str, shown: str) -> dict[str, str]:
    valid = f"valid: {', '.join(OPTIONS[scheme])}"
    found: dict[str, str] = {}
    for part in query.split("&") if query else []:
        name, value = next(iter(parse_qsl(part, keep_blank_values=True, separator="&")), ("", ""))
        if name not in OPTIONS[scheme]:
            raise _problem(shown, f"unknown option {name!r} in the URI; {valid}")
        if name in found:
            raise _problem(shown, f"the option {name!r} stands there twice ({found[name]!r}, {value!r}); say it once")
        if not value.strip():
            raise _problem(shown, f"the option {name!r} has no value; {name}=VALUE is the form, or leave it out")
        found[name] = value
        _check_option(name, value, shown)
    return found


def _check_option(name: str, value: str, shown: str) -> None:
    if name in _YES_OR_NO and value not in ("true", "false"):
        raise _problem(shown, f"{name} must be true or false, got {value!r}")
    if name == "scheme" and value not in ("http", "https"):
        raise _problem(shown, f"scheme must be http or https, got {value!r}")
    if name == "endpoint_override" and not _is_endpoint(value):
        text = f"endpoint_override must be HOST or HOST:PORT, with a port from 1 to {_MOST_PORT}, got {value!r}"
        raise _problem(shown, f"{text}; scheme=http says that it speaks no TLS")


def _is_endpoint(value: str) -> bool:
    try:
        parts = urlsplit(f"//{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    named = "://" not in value and "@" not in value and "?" not in value and "#" not in value
    whole = not parts.netloc.endswith(":") and not any(c.isspace() for c in value)
    return named and whole and bool(host) and port != 0


def _without_secrets(uri: str) -> str:
    """The URI without options, and without what stands before an @."""
    bare = re.split(r"[?#]", uri, maxsplit=1)[0]
    scheme, slashes, rest = re.match(r"([^/@]*)(/*)(.*)", bare, re.DOTALL).groups()  # type: ignore[union-attr]
    host, slash, path = rest.partition("/")
    return f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}".removesuffix("/" if rest else "")


def _problem(shown: str, text: str) -> StoreError:
    return StoreError(f"--store {shown}: {text}")
