"""Setting up pyarrow's S3 client, and classifying its errors."""

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
    """An error of the store, as opposed to one of the local disk."""


def with_known_errors(work: Callable[[], Result]) -> Result:
    """Separate errors of the store from errors of local files."""
    try:
        return work()
    except FileNotFoundError as error:
        raise NotThere(str(error)) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise Trouble(str(error)) from None


def lasting(trouble: Trouble, address: StoreUrl) -> str | None:
    """The message for an error that a retry would not fix; empty for others."""
    words, bucket = str(trouble), f"s3://{address.bucket}"
    if re.search("NO_SUCH_BUCKET|Bucket '.*' not found", words):
        return f"{bucket}: this bucket does not exist; create it first, or name another one"
    if DENIED.search(words):
        return f"{address.plain}: access denied: {CHAIN}"
    if "HTTP status 301" in words:
        return f"{bucket}: is in another region; name it: ?region=..."
    if re.search(r"\(HTTP status 4\d\d\)", words) and not PASSING.search(words):
        return f"{address.plain}: refuses the request ({brief(trouble)})"
    return None


def brief(trouble: Trouble) -> str:
    """The part of pyarrow's message that names the error."""
    words = str(trouble)
    match = re.search(r"AWS Error ([A-Z_]+(?: \(HTTP status \d+\))?)", words)
    return match.group(1) if match else words.splitlines()[0][:120]


@cache
def filesystem(endpoint: str, region: str, bucket: str) -> Any:
    from pyarrow import fs  # imported here because it is slow and most runs are on a disk

    scheme, _, host = endpoint.partition("://")
    if not region and not endpoint:
        region = with_known_errors(lambda: fs.resolve_s3_region(bucket))
    return fs.S3FileSystem(
        endpoint_override=host or None,
        scheme=scheme or "https",
        region=region or "us-east-1",
        connect_timeout=5,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),  # ObjectStore retries itself
        allow_delayed_open=True,  # a small object is sent in one request
    )
