"""pyarrow's S3 client: how it is set up, and what its errors mean."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from trainable.storage.urls import CHAIN, StoreUrl

DENIED = re.compile(
    r"ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE|EXPIRED_TOKEN|CLIENT_TOKEN|UNRECOGNIZED_CLIENT"
    r"|AUTHENTICATION|INVALID_TOKEN|\(HTTP status 40[13]\)"
)
PASSING = re.compile(r"\(HTTP status (408|429)\)")

Result = TypeVar("Result")


class NotThere(Exception):
    """There is no such object."""


class Trouble(Exception):
    """What pyarrow said of the store; apart from the errors of the disk that a file is written to."""


def said(work: Callable[[], Result]) -> Result:
    """Tell what goes wrong with the store from what goes wrong with a file of this machine."""
    try:
        return work()
    except FileNotFoundError as error:
        raise NotThere(str(error)) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise Trouble(str(error)) from None


def lasting(trouble: Trouble, address: StoreUrl) -> str | None:
    """What is wrong, in words, where trying again would not help."""
    words, bucket = str(trouble), f"s3://{address.bucket}"
    if re.search("NO_SUCH_BUCKET|Bucket '.*' not found", words):
        return f"{bucket}: this bucket does not exist; make it first, or name another one"
    if DENIED.search(words):
        return f"{address.plain}: access denied: {CHAIN}"
    if "HTTP status 301" in words:
        return f"{bucket}: is in another region; name it: ?region=..."
    if re.search(r"\(HTTP status 4\d\d\)", words) and not PASSING.search(words):
        return f"{address.plain}: refuses the request ({brief(trouble)})"
    return None


def brief(trouble: Trouble) -> str:
    """The part of pyarrow's message that names the fault."""
    words = str(trouble)
    match = re.search(r"AWS Error ([A-Z_]+(?: \(HTTP status \d+\))?)", words)
    return match.group(1) if match else words.splitlines()[0][:120]


@cache
def filesystem(endpoint: str, region: str, bucket: str) -> Any:
    from pyarrow import fs  # late: it takes a while, and most runs lie on a disk

    scheme, _, host = endpoint.partition("://")
    if not region and not endpoint:
        region = said(lambda: fs.resolve_s3_region(bucket))
    return fs.S3FileSystem(
        endpoint_override=host or None,
        scheme=scheme or "https",
        region=region or "us-east-1",
        connect_timeout=5,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),  # the store has its own
        allow_delayed_open=True,  # a small object is sent in one request
    )
