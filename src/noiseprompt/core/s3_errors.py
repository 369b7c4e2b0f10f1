"""What boto3 raises, in words; it is not imported here."""

from __future__ import annotations

from typing import Any

from noiseprompt.core.errors import StoreError

REFUSED = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
"""What a store answers where a condition does not hold, or another writes at the same moment."""

GONE = ("NoSuchKey", "404")
UNKNOWN = ("NotImplemented", "501")
"""What a store answers to a condition that it does not know."""

_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile that AWS_PROFILE names"
_LACKING = ("NoCredentials", "PartialCredentials", "CredentialRetrieval", "ProfileNotFound", "Token", "SSO", "Login")
_UNREACHED = ("Endpoint", "Timeout", "Connection", "SSL", "Proxy", "HTTPClient", "Streaming", "Incomplete")
_FOREIGN = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "AuthFailure")
_FOREIGN += ("InvalidClientTokenId", "401")
_RIGHTS = ("AccessDenied", "AllAccessDisabled", "Forbidden", "403", "AccountProblem", "InvalidObjectState")
_REGION = ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301", "400")


def code_of(error: Any) -> str:
    """What the store answered, such as "NoSuchKey"; "" where it did not."""
    answer = getattr(error, "response", None) or {}
    return str(answer.get("Error", {}).get("Code", ""))


def told(error: Exception, what: str, bucket: str = "", endpoint: str = "") -> StoreError:
    """An error of boto3 as ours.

    Args:
        what: could not be read or written.
        bucket, endpoint: that were asked.
    """
    code, reason = code_of(error), " ".join(str(error).split())[:200]
    name = type(error).__name__
    at = f" at {endpoint}" if endpoint else ""
    if code == "NoSuchBucket":
        return StoreError(f"there is no bucket {bucket}{at}", "one that exists", "make it, or mend the name")
    if code in _FOREIGN:
        came = f"the credentials for {what} are refused{at} ({code})"
        return StoreError(came, f"{_KEYS}, of this store")
    if code in _RIGHTS:
        came = f"no rights on {what}{at} ({code})"
        return StoreError(came, "a bucket and a folder that may be listed, read, written and removed from")
    if code in _REGION:
        return StoreError(f"{what} is not reached{at} ({code})", "the bucket's own region", "set AWS_REGION")
    if code == "RequestTimeTooSkewed":
        return StoreError(f"{what} is not reached{at}: the clock of this machine is wrong ({code})", "the right time")
    if code == "EntityTooLarge":
        return StoreError(f"{what} is larger than the store takes at once{at}", "at most 5 GB a file, on most stores")
    if code in UNKNOWN:
        expected = "one that heeds If-None-Match and If-Match"
        return StoreError(f"the store of {what} knows no conditional writes ({code})", expected)
    if code:
        return StoreError(f"cannot use {what}{at}: {reason}", "", "nothing committed is lost: try again later")
    if name.startswith(_LACKING):
        return StoreError(f"there are no credentials for {what} ({reason})", _KEYS)
    if "header value" in reason.lower():  # with the key in it
        return StoreError(f"the credentials for {what} hold the end of a line, or another sign that is none", _KEYS)
    if any(word in name for word in _UNREACHED):
        reason = reason.partition(': "')[0]  # the address stands before it
        came = f"the store of {what} cannot be reached{at} ({reason})"
        return StoreError(came, "a store that answers", "mend AWS_ENDPOINT_URL or the network, and run it again")
    return StoreError(f"cannot use {what}: {reason}", "settings of S3 that fit", "look at the AWS_ variables")
