"""``s3://`` URLs: a bucket, a prefix and the server. They never contain credentials."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from trainable.errors import UserError, did_you_mean

SCHEME = "s3://"
KNOWN = ("region", "endpoint_override", "scheme")
SECRETS = re.compile("key|secret|token|passw", re.IGNORECASE)
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
CHAIN = "credentials come from the usual chain (environment, ~/.aws, instance role)"


def is_url(text: str | Path) -> bool:
    """Whether this names a place in an object store rather than a path."""
    return "://" in str(text)


@dataclass(frozen=True)
class StoreUrl:
    """``endpoint`` is empty for Amazon's own servers."""

    bucket: str
    prefix: str
    endpoint: str = ""
    region: str = ""

    @property
    def plain(self) -> str:
        """The URL without the server, for messages."""
        return SCHEME + "/".join(filter(None, (self.bucket, self.prefix)))

    def __str__(self) -> str:
        parts = {"endpoint_override": self.endpoint, "region": self.region}
        query = urlencode({key: value for key, value in parts.items() if value}, safe=":/")
        return f"{self.plain}?{query}" if query else self.plain

    @property
    def digest(self) -> str:
        """A name for what this machine caches of the place."""
        return hashlib.sha256(f"{self.endpoint} {self.plain}".encode()).hexdigest()[:16]

    def under(self, *names: str) -> StoreUrl:
        return replace(self, prefix="/".join(filter(None, (self.prefix, *map(checked_name, names)))))

    @property
    def parent(self) -> StoreUrl:
        return replace(self, prefix=self.prefix.rpartition("/")[0])

    @property
    def name(self) -> str:
        return self.prefix.rpartition("/")[2]


def read_url(text: str) -> StoreUrl:
    """Parse a URL; AWS_ENDPOINT_URL and AWS_REGION are its defaults. A secret in it is refused and not echoed."""
    place, _, query = text.partition("?")
    if not text.startswith(SCHEME):
        scheme = place.partition("://")[0]
        raise UserError(f"{scheme}://: is not a supported object store; write s3://bucket/prefix")
    host, _, prefix = place.removeprefix(SCHEME).partition("/")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if "@" in host or ":" in host or "@" in options.get("endpoint_override", "") or any(map(SECRETS.search, options)):
        raise UserError(f"the URL of an object store must not hold a key or a password: {CHAIN}")
    for key in options:
        if key not in KNOWN:
            raise UserError(f"{place}: {key!r} is unknown.{did_you_mean(key, KNOWN)} Known: {', '.join(KNOWN)}.")
    if not BUCKET.fullmatch(host):
        raise UserError(f"{place}: names no bucket; write s3://bucket/prefix")
    prefix = prefix.strip("/")
    if prefix:
        checked_name(prefix)
    environment = os.environ
    endpoint = options.get("endpoint_override") or environment.get("AWS_ENDPOINT_URL_S3", "")
    endpoint = _with_scheme(endpoint or environment.get("AWS_ENDPOINT_URL", ""), options.get("scheme", ""))
    region = options.get("region") or environment.get("AWS_REGION", "") or environment.get("AWS_DEFAULT_REGION", "")
    return StoreUrl(host, prefix, endpoint, region)


def checked_name(name: str) -> str:
    """A name as listed by a store; names that lead out of the target folder are refused."""
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\\" in part or not part.isprintable() for part in parts):
        raise UserError(f"{name!r}: an object of this name is not used; a name must not lead out of its folder")
    return name


def inside(folder: Path, name: str) -> Path:
    """The path of an object of this name below a folder; links that lead out of the folder are refused as well."""
    path = folder / checked_name(name)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{path}: leads out of {folder}; nothing is written through such a link")
    return path


def _with_scheme(endpoint: str, scheme: str) -> str:
    """``host:port`` with a scheme in front, as it is in the environment variable."""
    if not endpoint:
        return ""
    whole = endpoint if "://" in endpoint else f"{scheme or 'https'}://{endpoint}"
    parts = urlsplit(whole)
    if "@" in parts.netloc:
        raise UserError(f"AWS_ENDPOINT_URL: must not hold a key or a password: {CHAIN}")
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/"):
        raise UserError(f"endpoint_override = {endpoint!r}: write http://host:port or https://host")
    return f"{parts.scheme}://{parts.netloc}"
