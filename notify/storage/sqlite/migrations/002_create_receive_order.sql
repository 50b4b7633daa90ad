-- What ordered delivery keeps; see schema.sql.
CREATE TABLE receive_order (
    sub_id INTEGER NOT NULL,
    okey TEXT NOT NULL,
    seq INTEGER NOT NULL,
    msg_id INTEGER NOT NULL,
    prev_id INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (sub_id, okey)
) STRICT, WITHOUT ROWID;
