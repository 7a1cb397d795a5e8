"""Looks whether the blocks of a registration are what their types ask for. Called before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from prefect.blocks.core import Block as PrefectBlock
from prefect.blocks.core import UnknownBlockType

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.registration.config import Block, FromEnvironment


def check_blocks(blocks: Sequence[Block]) -> None:
    """Look at every block.

    Raises:
        ConfigurationError: a type is unknown, a value does not fit it, or a secret stands in the file.
    """
    names = [(block.type, block.name) for block in blocks]
    for block in blocks:
        where = f"registration, block {block.type}/{block.name}"
        if names.count((block.type, block.name)) > 1:
            raise ConfigurationError("Two blocks have one name", where=where, todo="rename one of them")
        kind = _kind(block, where)
        for key in sorted(set(block.values) - set(kind.model_fields)):
            known = ", ".join(kind.model_fields)
            raise ConfigurationError(f"Unknown value {key}", where=where, todo=f"there are {known}")
        _refuse_plain_secrets(block, kind.model_json_schema().get("secret_fields", []), where)
        # By name only: some types hand a value that does not fit to a library that logs it, secret or not.
        for key in sorted(name for name, field in kind.model_fields.items() if field.is_required()):
            if key not in block.values:
                raise ConfigurationError(f"{key} is missing", where=where, todo=f"give the block a {key}")


def _kind(block: Block, where: str) -> type[PrefectBlock]:
    try:
        return PrefectBlock.get_block_class_from_key(block.type)
    except UnknownBlockType as error:
        raise ConfigurationError(
            f"Unknown type of block: {block.type}",
            where=where,
            todo="see `prefect block type ls`, or install the package that brings it",
        ) from error


def _refuse_plain_secrets(block: Block, secret_fields: Sequence[Any], where: str) -> None:
    for key, value in block.values.items():
        is_secret = any(fnmatchcase(key, str(field).split(".")[0]) for field in secret_fields)
        if is_secret and not isinstance(value, FromEnvironment):
            raise ConfigurationError(
                f"{key} is a secret and stands in the file", where=where, todo=f"write {{env: VARIABLE}} as its {key}"
            )
