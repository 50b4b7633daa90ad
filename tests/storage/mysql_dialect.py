"""The portable subset of SQL as rules, each with its reason; `check` holds a statement to them."""

import re
from typing import Final, NamedTuple


class Rule(NamedTuple):
    """What no statement may contain, and why."""

    forbidden: re.Pattern[str]
    reason: str


def _rule(pattern: str, reason: str) -> Rule:
    return Rule(re.compile(pattern, re.IGNORECASE), reason)


# Statements that are not from the services' daily life, word for word as they are sent.
EXEMPT: Final = {
    "SELECT @@sql_mode, @@max_allowed_packet": "looks at the server once for each connection",
}

RULES: Final = (
    _rule(r";", "several statements at once are off in most proxies, and a way for injections"),
    _rule(r"^\s*(?!SELECT\b|INSERT\b|UPDATE\b|DELETE\b|START TRANSACTION$|COMMIT$|ROLLBACK$)\S",
          "only reads, writes and plain transactions: everything else is not forwarded alike"),
    _rule(r"^REPLACE\b|\bREPLACE INTO\b", "a REPLACE deletes first: no shard-safe retry"),
    _rule(r"^UPDATE\b(?:(?!\bWHERE\b).)*(?:,\s*\w+\s+SET\b|\bJOIN\b)",
          "UPDATE over several tables is refused or slow on sharded servers"),
    _rule(r"^(?:UPDATE|DELETE)\b.*\bLIMIT\b", "each shard would apply the LIMIT by itself"),
    _rule(r"^(?:UPDATE|DELETE)\b(?!.*\bWHERE\b)", "a write without WHERE reaches every shard"),
    _rule(r"^INSERT\b.*\bSELECT\b", "it runs in one shard, or in the proxy's memory"),
    _rule(r"^INSERT(?: IGNORE)? INTO \w+\b(?! ?\()", "an INSERT names its columns"),
    _rule(r"\bRETURNING\b", "MariaDB only"),
    _rule(r"\bLOAD\s+DATA\b", "not through proxies"),
    _rule(r"\bSKIP\s+LOCKED\b|\bNOWAIT\b|\bLOCK IN SHARE MODE\b|\bFOR SHARE\b",
          "unknown to older servers, Spider or TiDB"),
    _rule(r"\bGET_LOCK\b|\bRELEASE_LOCK\b", "a lock of one server of many"),
    _rule(r"\bTEMPORARY\b|\bTRIGGER\b|\bFOREIGN KEY\b|\bAUTO_INCREMENT\b|\bPROCEDURE\b",
          "bound to one server"),
    _rule(r"\bSAVEPOINT\b", "not over shards"),
    _rule(r"\bAS\s+new\b", "the row alias is MySQL 8 only"),
    _rule(r"\([\w.]+\s*,\s*[\w.]+(?:\s*,\s*[\w.]+)*\)\s*(?:NOT\s+)?IN\b",
          "a tuple IN scans the whole index (8 900 instead of 180 000 rows/s)"),
    _rule(r"\bCOUNT\s*\(\s*DISTINCT\b|\bAVG\s*\(", "cannot be added up over shards"),
    _rule(r"\b(?:GROUP|ORDER) BY\b[^)]*?\(", "shards sort and group by columns, not expressions"),
    _rule(r"\bOFFSET\b|\bLIMIT\s+\?", "a later page costs more than an earlier one"),
    _rule(r"^SELECT\b(?!.*\b(?:WHERE|LIMIT)\b)", "a SELECT has a window or a LIMIT"),
    _rule(r"\bSELECT\s+(?:DISTINCT\s+)?\*|\.\*", "columns come in another order after a migration"),
    _rule(r"\bSELECT\b.*\(\s*SELECT\b|\bEXISTS\b|\bUNION\b", "sub-queries are planned differently"),
    _rule(r"\bWITH\b\s+\w+\s+AS\b|\bOVER\s*\(", "MySQL 8 and MariaDB 10.2 only"),
    _rule(r"@", "session variables belong to one connection of a proxy's many"),
    _rule(r"^\s*SET\b", "session variables belong to one connection of a proxy's many"),
    _rule(r"\binformation_schema\b|\bSHOW\b|\bmysql\.", "about one server of many"),
    _rule(r"\b(?:NOW|UUID|RAND|CURRENT_TIMESTAMP|ROW_COUNT|LAST_INSERT_ID|FOUND_ROWS)\b",
          "time, chance and counts differ between servers; times and ids are made by the app"),
    _rule(r"\bFORCE\s+INDEX\b|\bUSE\s+INDEX\b|\bSTRAIGHT_JOIN\b", "hints are not portable"),
    _rule(r"/\*", "comments with a meaning (!) are not portable"),
)  # fmt: skip

# Joins tie a message's rows together, which lie on one shard; nothing else.
_JOIN: Final = re.compile(r"\bJOIN\b.*?\bON\b(.*?)(?:\bWHERE\b|\bJOIN\b|$)", re.IGNORECASE)
_MSG_ONLY: Final = re.compile(r"\s*\w+\.(?:msg_)?id\s*=\s*\w+\.(?:msg_)?id\s*")
_ORDER: Final = re.compile(r"\bORDER BY (.*?)(?:\bLIMIT\b|\bFOR UPDATE\b|$)", re.IGNORECASE)
_SELECTED: Final = re.compile(r"^SELECT (.*?) FROM\b", re.IGNORECASE)
_LITERAL: Final = re.compile(rb"_binary'(?:[^'\\]|\\.)*'|'(?:[^'\\]|\\.)*'", re.DOTALL)
_NUMBERS: Final = re.compile(r"(?<![\w@])-?\d+(?:,\s?-?\d+)+")
_ROWS: Final = re.compile(r"(VALUES \()[^()]*\)(?:,\([^()]*\))*")
ROWS_MAX: Final = 2000
BYTES_MAX: Final = 1 << 20


class ForbiddenStatement(AssertionError):
    """A statement that is not in the portable subset."""


def skeleton(statement: bytes) -> str:
    """A statement without its values, in one line."""
    text = _LITERAL.sub(b"'?'", statement).decode()
    text = _ROWS.sub(r"\1?)", text)
    return re.sub(r"\s+", " ", _NUMBERS.sub("?", text)).strip()


def check(statement: bytes) -> None:
    """Raises ForbiddenStatement."""
    text = skeleton(statement)
    if text in EXEMPT or _ok.get(text):
        return
    for rule in RULES:
        if rule.forbidden.search(text):
            raise ForbiddenStatement(f"{rule.reason}: {text[:500]}")
    for on in _JOIN.findall(text):
        if not _MSG_ONLY.fullmatch(on):
            raise ForbiddenStatement(f"joins are on the message id alone: {text[:500]}")
    selected, ordered = _SELECTED.search(text), _ORDER.search(text)
    if selected and ordered:
        columns = {column.strip() for column in selected[1].split(",")}
        for term in ordered[1].split(","):
            if term.split()[0] not in columns:
                raise ForbiddenStatement(f"ORDER BY only what is selected: {text[:500]}")
    _ok[text] = True


_ok: dict[str, bool] = {}
