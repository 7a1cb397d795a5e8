"""The state store's settings: where dbt's artifacts are kept between runs and pods, and what is kept there."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

S3 = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?P<prefix>(/[\w.=-]+)*)/?")


def _address(value: str) -> str:
    """A folder, or an address on S3 with a bucket; another scheme would be taken for a folder's name."""
    if "://" in value and not S3.fullmatch(value):
        raise ValueError("it is neither a folder nor s3://bucket/prefix")
    return value


class StateSettings(BaseSettings):
    """Where dbt's artifacts are kept between runs."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_STATE_", env_ignore_empty=True, frozen=True, extra="ignore")

    store: Annotated[str, AfterValidator(_address)] | None = Field(
        default=None,
        description="Where dbt manifests and run results are kept: a folder or `s3://bucket/prefix`; unset: `state` in "
        "FLOWS_HOME.",
    )
    publish: bool = Field(
        default=True,
        description="Whether a successful run replaces the production artifacts; `false` where runs only compare "
        "with them.",
    )
    history: int = Field(
        default=10, ge=2, le=100, description="How many publications are kept, for `flows state rollback`."
    )

    warehouse: str | None = Field(
        default=None,
        min_length=1,
        description="Name of the warehouse in the locks on its schemas, where it has several addresses (a laptop's "
        "forwarded port, an alias of its host); unset: its address.",
    )

    @property
    def bucket(self) -> tuple[str, str] | None:
        """Bucket and prefix on S3, the prefix empty or with a slash at its end; None for a folder."""
        found = S3.fullmatch(self.store or "")
        if found is None:
            return None
        prefix = found["prefix"].strip("/")
        return found["bucket"], f"{prefix}/" if prefix else ""
