"""The named statements of queries.sql."""

from importlib import resources

_MARK = "-- name:"


def parse(text: str) -> dict[str, str]:
    """Statements by name, without comments. A section is `-- name: x`, comments, one statement.

    AssertionError where a name appears twice or a section lacks its description or statement.
    """
    queries: dict[str, str] = {}
    for section in text.split(_MARK)[1:]:
        name, *lines = section.strip().splitlines()
        name = name.strip()
        comments = [line for line in lines if line.startswith("--")]
        statement = "\n".join(line for line in lines if line and not line.startswith("--"))
        assert name not in queries, f"two queries named {name}"
        assert comments, f"query {name} has no description"
        assert statement, f"query {name} has no statement"
        queries[name] = statement
    return queries


QUERIES = parse(resources.files(__package__).joinpath("queries.sql").read_text("utf-8"))
