"""What can keep the embedded PostgreSQL from running, said so that a person can mend it."""


class EmbeddedPostgresError(Exception):
    """PostgreSQL cannot be found, made or started; the text says what to do."""
