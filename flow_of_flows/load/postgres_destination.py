"""dlt's Postgres destination with connection parameters passed as values; `destination` makes one.

dlt's own writes them into a URL, which takes no socket's folder as a host and no `?` in a database's name. libpq reads
a keyword string as well as a URL, and its driver writes one with each value quoted.
"""

from __future__ import annotations

from dlt.common.configuration import configspec
from dlt.destinations.impl.postgres.configuration import PostgresClientConfiguration, PostgresCredentials
from dlt.destinations.impl.postgres.factory import postgres
from psycopg2.extensions import make_dsn

from flow_of_flows.warehouse.targets import PostgresTarget


@configspec(init=False)
class ValueCredentials(PostgresCredentials):
    """Credentials that libpq gets as a keyword string."""

    def to_native_representation(self) -> str:
        """Return the string that dlt opens a connection with, of values as they were given: dlt strips a password."""
        return str(make_dsn(**self.get_query()))


@configspec
class ValueConfiguration(PostgresClientConfiguration):
    """The destination's configuration; dlt makes credentials anew by the class that is declared here."""

    credentials: ValueCredentials = None  # type: ignore[assignment] # dlt's way to say that it is required


class ValueDestination(postgres):
    """dlt's destination in all else, by its own name too: it is kept in the warehouse with the state of a load."""

    spec = ValueConfiguration  # type: ignore[assignment] # the type is declared too narrow
    destination_type = "dlt.destinations.postgres"


def by_values(target: PostgresTarget, *, timeout: int) -> ValueDestination:
    """Return the destination of a Postgres database.

    Args:
        target: the database.
        timeout: seconds that a connection may take.
    """
    credentials = ValueCredentials()
    credentials.host, credentials.port = target.host, target.port
    credentials.username, credentials.password = target.user, target.password.get_secret_value()
    credentials.database, credentials.connect_timeout = target.database, timeout
    credentials.query = target.connection(timeout=timeout)
    return ValueDestination(credentials=credentials)
