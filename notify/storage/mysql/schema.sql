-- The present state of the schema, for readers. A database gets here by migrations/, and a test
-- holds the two together. Times are unix milliseconds, ids are below 2**63.
--
-- Portable: no AUTO_INCREMENT, no foreign keys, nothing NULL, every table with a primary key whose
-- columns include the shard key. On sharded set-ups biz_msg is sharded by id, and receive_msg,
-- receive_timer, receive_drop and receive_attempt by msg_id with the same function; biz_dedup
-- by h; receive_order by sub_id, or in one place like everything else, which is small.
--
-- What is compared is binary (VARBINARY, BLOB): text collations ignore case, accents or blanks at
-- the end, and differ between servers. Text that is only shown is utf8mb4, whatever the default.

-- Producers. deleted_ms 0: it exists. Names are unique among those that exist.
CREATE TABLE biz (
    id BIGINT NOT NULL,
    name BLOB NOT NULL,
    key_hash VARBINARY(255) NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    deleted_ms BIGINT NOT NULL,
    PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Consumers. config: JSON of what has no column (secrets, headers, protocol, …).
CREATE TABLE receive (
    id BIGINT NOT NULL,
    name BLOB NOT NULL,
    url TEXT NOT NULL,
    config MEDIUMTEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    deleted_ms BIGINT NOT NULL,
    PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Subscriptions. status: normal, paused, discarded. config: JSON of filter and delivery policy.
CREATE TABLE biz_receive (
    id BIGINT NOT NULL,
    biz_id BIGINT NOT NULL,
    receive_id BIGINT NOT NULL,
    status VARCHAR(16) NOT NULL,
    status_reason TEXT NOT NULL,
    config MEDIUMTEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    deleted_ms BIGINT NOT NULL,
    PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Messages; written once, never changed. Ids are time-ordered, so new rows are appended.
CREATE TABLE biz_msg (
    id BIGINT NOT NULL,
    biz_id BIGINT NOT NULL,
    type VARCHAR(128) NOT NULL,
    content_type VARCHAR(128) NOT NULL,
    headers MEDIUMBLOB NOT NULL,
    dkey VARCHAR(128) NOT NULL,
    ordering_key VARCHAR(128) NOT NULL,
    deliver_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    payload LONGBLOB NOT NULL,
    PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Idempotency keys. h: 63 bits of a hash of producer and key.
CREATE TABLE biz_dedup (
    h BIGINT NOT NULL,
    biz_id BIGINT NOT NULL,
    dkey VARBINARY(128) NOT NULL,
    msg_id BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (h, biz_id, dkey)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Deliveries: one row per message and subscription; subscription 0 says: matched none.
-- status: 0 pending, 1 queued, 2 delivered, 3 dropped. It is in no index: an index with it
-- halves the rate of the bulk update (139 000 to 74 000 rows/s), and each further index costs
-- 20 to 25 % of the insert. The one index here serves lists of a subscription; InnoDB would append
-- msg_id by itself, but not every server sorts by a column that is not named. The defaults are a
-- delivery that is queued at once: its INSERT leaves them out, which spares the server a sixth.
CREATE TABLE receive_msg (
    msg_id BIGINT NOT NULL,
    sub_id BIGINT NOT NULL,
    status TINYINT NOT NULL DEFAULT 1,
    attempts INT NOT NULL DEFAULT 0,
    reason TINYINT NOT NULL DEFAULT 0,
    due_ms BIGINT NOT NULL DEFAULT 0,
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (msg_id, sub_id),
    KEY receive_msg_sub (sub_id, msg_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The pending deliveries in the order in which they are fed: one row for each, with its due_ms.
-- Written in the transaction that makes a delivery pending or ends that, so a delivery that is
-- queued and delivered at once never has one; one that waits costs a narrow insert and a delete.
CREATE TABLE receive_timer (
    sub_id BIGINT NOT NULL,
    due_ms BIGINT NOT NULL,
    msg_id BIGINT NOT NULL,
    PRIMARY KEY (sub_id, due_ms, msg_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The dropped deliveries of subscriptions above 0, for lists of dead letters: few among many.
CREATE TABLE receive_drop (
    msg_id BIGINT NOT NULL,
    sub_id BIGINT NOT NULL,
    PRIMARY KEY (msg_id, sub_id),
    KEY receive_drop_sub (sub_id, msg_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Ordered delivery: of each line (a subscription's ordering key) the delivery begun last, its number
-- in the line, and the message before it (0: none). A row for each key that was ever seen.
CREATE TABLE receive_order (
    sub_id BIGINT NOT NULL,
    okey VARBINARY(128) NOT NULL,
    seq BIGINT NOT NULL,
    msg_id BIGINT NOT NULL,
    prev_id BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (sub_id, okey)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- HTTP tries, but for deliveries that succeeded at the first one: their row says it all.
CREATE TABLE receive_attempt (
    msg_id BIGINT NOT NULL,
    sub_id BIGINT NOT NULL,
    attempt INT NOT NULL,
    at_ms BIGINT NOT NULL,
    latency_ms BIGINT NOT NULL,
    code INT NOT NULL,
    error TEXT NOT NULL,
    response MEDIUMBLOB NOT NULL,
    PRIMARY KEY (msg_id, sub_id, attempt)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Counters by subscription and unix minute. failed: attempts that failed. lane: so that writers
-- do not wait for each other's commits on one row; readers add the lanes up.
CREATE TABLE stat_minute (
    sub_id BIGINT NOT NULL,
    minute BIGINT NOT NULL,
    lane INT NOT NULL,
    matched BIGINT NOT NULL,
    delivered BIGINT NOT NULL,
    dropped BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    latency_ms BIGINT NOT NULL,
    PRIMARY KEY (sub_id, minute, lane)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The account of every subscription, matched = delivered + dropped + queued + pending, as the
-- sum of its slots. A slot is a span of message ids x a lane (accounts.py), so the slots also
-- say where among the messages the queued deliveries are; slot 0 holds what was folded.
CREATE TABLE ledger (
    sub_id BIGINT NOT NULL,
    slot BIGINT NOT NULL,
    matched BIGINT NOT NULL,
    delivered BIGINT NOT NULL,
    dropped BIGINT NOT NULL,
    queued BIGINT NOT NULL,
    pending BIGINT NOT NULL,
    PRIMARY KEY (sub_id, slot)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Worker numbers of the id maker. owner '': given back. floor_ms: no id at or before it.
CREATE TABLE worker (
    id BIGINT NOT NULL,
    owner BLOB NOT NULL,
    expires_ms BIGINT NOT NULL,
    floor_ms BIGINT NOT NULL,
    PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Small numbers that services keep, and the version of what is configured. Raising a number
-- locks its row until the commit, which keeps writers of one kind in a line.
CREATE TABLE note (
    name VARBINARY(255) NOT NULL,
    value BIGINT NOT NULL,
    PRIMARY KEY (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The migrations. done_ms 0: begun by a migrator that is at work, or was cut off.
CREATE TABLE schema_version (
    version BIGINT NOT NULL,
    name VARBINARY(255) NOT NULL,
    started_ms BIGINT NOT NULL,
    done_ms BIGINT NOT NULL,
    PRIMARY KEY (version)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
