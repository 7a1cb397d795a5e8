"""The state store in a bucket: keys in, objects of S3 out.

What is there is replaced by conditional writes (`If-Match` with the ETag, `If-None-Match: *`), which S3 decides.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from flow_of_flows import aws
from flow_of_flows.aws import DeniedError
from flow_of_flows.dbt.state.store import Store, Stored
from flow_of_flows.errors import ConfigurationError

# Another writer was first; 404 is S3's answer to If-Match where the object is gone.
OUTDATED = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "409", "412"}
# boto3 tries a request again, but not one whose answer broke off in the middle.
READS = 3


@dataclass(frozen=True)
class S3Store(Store):
    """A state store below a prefix of a bucket; the prefix is empty or ends with a slash."""

    bucket: str
    prefix: str
    region: str

    def look(self, key: str) -> Stored | None:
        """Return the object, None if it does not exist; its version is the ETag."""
        with self._calling("read from", "s3:GetObject"):
            return self._get(key)

    def write(self, key: str, data: bytes) -> None:
        """Put one object; S3 shows it whole or not at all."""
        with self._calling("write to", "s3:PutObject"):
            self._client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=data)

    def replace(self, key: str, data: bytes, version: str | None) -> bool:
        """Put one object on a condition."""
        from botocore.exceptions import ClientError

        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        with self._calling("write to", "s3:PutObject and s3:GetObject"):
            try:
                self._client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=data, **condition)
            except ClientError as error:
                if aws.code(error) not in OUTDATED:
                    raise
                # A request whose answer was lost is sent again, and then meets what it wrote itself.
                found = self._get(key)
                return found is not None and found.data == data
        return True

    def folders(self, prefix: str) -> dict[str, datetime]:
        """Return the folders, from the keys of what is in them."""
        found: dict[str, datetime] = {}
        for item in self._objects(f"{prefix}/"):
            name = str(item["Key"]).removeprefix(f"{self.prefix}{prefix}/").partition("/")[0]
            found[name] = max(found.get(name, item["LastModified"]), item["LastModified"])
        return found

    def remove(self, prefix: str) -> None:
        """Delete the objects one by one: there are four of them at most."""
        for item in list(self._objects(f"{prefix}/")):
            with self._calling("delete from", "s3:DeleteObject"):
                self._client.delete_object(Bucket=self.bucket, Key=item["Key"])

    def describe(self) -> str:
        """Return the address."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @functools.cached_property
    def _client(self) -> Any:
        return aws.client("s3", self.region)

    def _get(self, key: str) -> Stored | None:
        from botocore.exceptions import IncompleteReadError, ReadTimeoutError, ResponseStreamingError

        for left in reversed(range(READS)):
            answer = self._ask(key)
            try:
                return Stored(answer["Body"].read(), answer["ETag"]) if answer else None
            except (IncompleteReadError, ReadTimeoutError, ResponseStreamingError):
                if not left:
                    raise
        return None

    def _ask(self, key: str) -> dict[str, Any] | None:
        from botocore.exceptions import ClientError

        try:
            return dict(self._client.get_object(Bucket=self.bucket, Key=self.prefix + key))
        except ClientError as error:
            if aws.code(error) == "NoSuchKey":
                return None
            raise

    def _objects(self, prefix: str) -> Iterator[dict[str, Any]]:
        with self._calling("list", "s3:ListBucket"):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix + prefix):
                yield from page.get("Contents", ())

    def _calling(self, verb: str, action: str) -> AbstractContextManager[None]:
        """One call, and what is to be allowed for it; without s3:ListBucket a key that is missing is denied, too."""
        objects, bucket = f"arn:aws:s3:::{self.bucket}/{self.prefix}*", f"arn:aws:s3:::{self.bucket}"
        resource = bucket if action == "s3:ListBucket" else objects
        also = f" and s3:ListBucket on {bucket}" if verb == "read from" else ""
        return aws.translated(
            f"{verb} the state store", where=self.describe(), permission=f"{action} on {resource}{also}"
        )


def probe(store: Store) -> None:
    """Do once what runs do, in a folder of its own that is removed.

    Raises:
        ConfigurationError: something is not allowed (all of it is named), or conditions are not heeded.
        PlatformError: the store does not answer.
    """
    folder = f"probe/{uuid4()}"
    steps: dict[str, Callable[[], object]] = {
        "write": lambda: store.write(f"{folder}/written", b"probe"),
        "read": lambda: store.read(f"{folder}/written"),
        "replace": lambda: _conditions(store, f"{folder}/replaced"),
        "list": lambda: store.folders("probe"),
        "delete": lambda: store.remove(folder),
    }
    denied: dict[str, DeniedError] = {}
    for name, step in steps.items():
        try:
            step()
        except DeniedError as error:
            denied[name] = error
    if denied:
        permissions = dict.fromkeys(error.permission for error in denied.values())
        raise ConfigurationError(
            f"The state store does not allow this process to {', '.join(denied)}",
            location=store.describe(),
            hint=f"allow {'; '.join(permissions)} in the role of the job pods",
        )


def _conditions(store: Store, key: str) -> None:
    """Some servers that speak S3 overlook the conditions, and an older run would replace a newer one."""
    if not store.replace(key, b"first", None) or store.replace(key, b"second", None):
        raise ConfigurationError(
            "The state store does not heed the conditions of a write (If-None-Match)",
            location=store.describe(),
            hint="use a store that does, as S3 itself",
        )
