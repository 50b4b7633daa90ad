-- The tables of the first release; what each is for stands in schema.sql. Every statement may be
-- repeated: a migrator that was cut off is followed by one that begins this step again.
CREATE TABLE IF NOT EXISTS biz (
    id BIGINT NOT NULL,
    name BLOB NOT NULL,
    key_hash VARBINARY(255) NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    deleted_ms BIGINT NOT NULL,
    PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS receive (
    id BIGINT NOT NULL,
    name BLOB NOT NULL,
    url TEXT NOT NULL,
    config MEDIUMTEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    deleted_ms BIGINT NOT NULL,
    PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS biz_receive (
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

CREATE TABLE IF NOT EXISTS biz_msg (
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

CREATE TABLE IF NOT EXISTS biz_dedup (
    h BIGINT NOT NULL,
    biz_id BIGINT NOT NULL,
    dkey VARBINARY(128) NOT NULL,
    msg_id BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (h, biz_id, dkey)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS receive_msg (
    msg_id BIGINT NOT NULL,
    sub_id BIGINT NOT NULL,
    status TINYINT NOT NULL,
    attempts INT NOT NULL,
    reason TINYINT NOT NULL,
    due_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (msg_id, sub_id),
    KEY receive_msg_sub (sub_id, msg_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS receive_timer (
    sub_id BIGINT NOT NULL,
    due_ms BIGINT NOT NULL,
    msg_id BIGINT NOT NULL,
    PRIMARY KEY (sub_id, due_ms, msg_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS receive_drop (
    msg_id BIGINT NOT NULL,
    sub_id BIGINT NOT NULL,
    PRIMARY KEY (msg_id, sub_id),
    KEY receive_drop_sub (sub_id, msg_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS receive_attempt (
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

CREATE TABLE IF NOT EXISTS stat_minute (
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

CREATE TABLE IF NOT EXISTS ledger (
    sub_id BIGINT NOT NULL,
    slot BIGINT NOT NULL,
    matched BIGINT NOT NULL,
    delivered BIGINT NOT NULL,
    dropped BIGINT NOT NULL,
    queued BIGINT NOT NULL,
    pending BIGINT NOT NULL,
    PRIMARY KEY (sub_id, slot)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS worker (
    id BIGINT NOT NULL,
    owner BLOB NOT NULL,
    expires_ms BIGINT NOT NULL,
    floor_ms BIGINT NOT NULL,
    PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS note (
    name VARBINARY(255) NOT NULL,
    value BIGINT NOT NULL,
    PRIMARY KEY (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

INSERT IGNORE INTO note (name, value) VALUES ('config_version', 0), ('worker_lease', 0);
