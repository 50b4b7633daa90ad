-- The present state of the schema, for readers. A database gets here by migrations/, and a test
-- holds the two together. Times are unix milliseconds, ids are below 2**63.

-- Producers. deleted_ms 0: it exists. Names are unique among those that exist.
CREATE TABLE biz (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    key_hash TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    deleted_ms INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX biz_name ON biz (name) WHERE deleted_ms = 0;

-- Consumers. config: JSON of what has no column (secrets, headers, protocol, …).
CREATE TABLE receive (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    url TEXT NOT NULL,
    config TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    deleted_ms INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX receive_name ON receive (name) WHERE deleted_ms = 0;

-- Subscriptions. status: normal, paused, discarded. config: JSON of filter and delivery policy.
CREATE TABLE biz_receive (
    id INTEGER PRIMARY KEY,
    biz_id INTEGER NOT NULL,
    receive_id INTEGER NOT NULL,
    status TEXT NOT NULL,
    status_reason TEXT NOT NULL,
    config TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    deleted_ms INTEGER NOT NULL
) STRICT;

-- Messages; written once, never changed. Ids are time-ordered, so new rows are appended.
CREATE TABLE biz_msg (
    id INTEGER PRIMARY KEY,
    biz_id INTEGER NOT NULL,
    type TEXT NOT NULL,
    content_type TEXT NOT NULL,
    headers BLOB NOT NULL,
    dkey TEXT NOT NULL,
    ordering_key TEXT NOT NULL,
    deliver_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    payload BLOB NOT NULL
) STRICT;

-- Idempotency keys. h: 63 bits of a hash of producer and key, the shard key elsewhere.
CREATE TABLE biz_dedup (
    h INTEGER NOT NULL,
    biz_id INTEGER NOT NULL,
    dkey TEXT NOT NULL,
    msg_id INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (h, biz_id, dkey)
) STRICT, WITHOUT ROWID;

-- Deliveries: one row per message and subscription; subscription 0 says: matched none.
-- status: 0 pending, 1 queued, 2 delivered, 3 dropped.
CREATE TABLE receive_msg (
    msg_id INTEGER NOT NULL,
    sub_id INTEGER NOT NULL,
    status INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    reason INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (msg_id, sub_id)
) STRICT, WITHOUT ROWID;
-- What waits, by the time it is due: most rows are due at once (0) and so lie in message order.
CREATE INDEX receive_msg_pending ON receive_msg (sub_id, due_ms, msg_id) WHERE status = 0;
-- What is in the queue, longest untouched first.
CREATE INDEX receive_msg_queued ON receive_msg (updated_ms, sub_id, msg_id) WHERE status = 1;
-- Dead letters and other drops, for lists.
CREATE INDEX receive_msg_dropped ON receive_msg (msg_id, sub_id) WHERE status = 3;
-- Lists of one subscription.
CREATE INDEX receive_msg_sub ON receive_msg (sub_id, msg_id);

-- Ordered delivery: of each line (a subscription's ordering key) the delivery begun last, its number
-- in the line, and the message before it (0: none). A row for each key that was ever seen.
CREATE TABLE receive_order (
    sub_id INTEGER NOT NULL,
    okey TEXT NOT NULL,
    seq INTEGER NOT NULL,
    msg_id INTEGER NOT NULL,
    prev_id INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (sub_id, okey)
) STRICT, WITHOUT ROWID;

-- HTTP tries, but for deliveries that succeeded at the first one: their row says it all.
CREATE TABLE receive_attempt (
    msg_id INTEGER NOT NULL,
    sub_id INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    latency_ms INTEGER NOT NULL,
    code INTEGER NOT NULL,
    error TEXT NOT NULL,
    response BLOB NOT NULL,
    PRIMARY KEY (msg_id, sub_id, attempt)
) STRICT, WITHOUT ROWID;

-- Counters by subscription and unix minute. failed: attempts that failed.
CREATE TABLE stat_minute (
    sub_id INTEGER NOT NULL,
    minute INTEGER NOT NULL,
    matched INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    dropped INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    latency_ms INTEGER NOT NULL,
    PRIMARY KEY (sub_id, minute)
) STRICT, WITHOUT ROWID;

-- The account of every subscription: matched = delivered + dropped + queued + pending.
CREATE TABLE ledger (
    sub_id INTEGER PRIMARY KEY,
    matched INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    dropped INTEGER NOT NULL,
    queued INTEGER NOT NULL,
    pending INTEGER NOT NULL
) STRICT;

-- Worker numbers of the id maker. owner '': given back. floor_ms: no id at or before it.
CREATE TABLE worker (
    id INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    expires_ms INTEGER NOT NULL,
    floor_ms INTEGER NOT NULL
) STRICT;

-- Small numbers that services keep, and the version of what is configured.
CREATE TABLE note (
    name TEXT PRIMARY KEY NOT NULL,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The migrations that were applied.
CREATE TABLE schema_version (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL
) STRICT;
