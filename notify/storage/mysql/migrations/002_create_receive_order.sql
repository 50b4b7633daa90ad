-- What ordered delivery keeps. Only a new table: processes of the release before work on meanwhile,
-- they only cannot be started any more.
CREATE TABLE IF NOT EXISTS receive_order (
    sub_id BIGINT NOT NULL,
    okey VARBINARY(128) NOT NULL,
    seq BIGINT NOT NULL,
    msg_id BIGINT NOT NULL,
    prev_id BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (sub_id, okey)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
