-- Every statement of the MySQL storage that is not built by notify_core, by name. The lines under
-- a name say what it is for. `?` stands for a value, or for a set of ids in IN (?); `?rows` for
-- rows; a `?any(...)` at the end for several of what is in it, with OR. Only the portable subset: tests/storage/mysql_dialect.py holds each statement to it.
--
-- `sub_id >= ? AND sub_id <= ?` with one number twice, and sub_id in ORDER BY: then a SELECT reads
-- ranges of an index. With `sub_id = ?` MariaDB looks the subscription up and passes over (and,
-- where it locks, locks) all its other rows, because it takes the estimate of the range for that
-- plan: 67 ms instead of 8 for 999 rows of 300 000, 350 ms instead of 1 for a page far down.

-- name: settings
-- What the connection must agree with, asked once when it is made.
SELECT @@sql_mode, @@max_allowed_packet;

-- name: server
-- For `notify doctor`, which looks at one server: what it is and how it is set.
SHOW GLOBAL VARIABLES WHERE Variable_name IN
('version', 'read_only', 'super_read_only', 'innodb_read_only', 'sql_mode', 'max_allowed_packet',
 'innodb_flush_log_at_trx_commit', 'log_bin', 'sync_binlog', 'character_set_server',
 'max_connections');

-- name: server_clock
-- For `notify doctor`: the server's time in microseconds, whatever its time zone.
SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6));

-- name: explain_select
-- For `notify doctor`: explaining needs the right to do it, and does nothing.
EXPLAIN SELECT value FROM note WHERE name = '';

-- name: explain_insert
-- As explain_select.
EXPLAIN INSERT INTO note (name, value) VALUES ('', 0);

-- name: explain_update
-- As explain_select.
EXPLAIN UPDATE note SET value = 0 WHERE name = '';

-- name: explain_delete
-- As explain_select.
EXPLAIN DELETE FROM note WHERE name = '';

-- name: begin
-- No consistent snapshot is taken yet: locks that come first are seen by the reads that follow.
START TRANSACTION;

-- name: commit
-- Durable when this returns, on a server with innodb_flush_log_at_trx_commit = 1.
COMMIT;

-- name: rollback
-- Nothing of the transaction stays.
ROLLBACK;

-- name: create_schema_version
-- Migrations keep their own book; as in schema.sql.
CREATE TABLE IF NOT EXISTS schema_version (
    version BIGINT NOT NULL,
    name VARBINARY(255) NOT NULL,
    started_ms BIGINT NOT NULL,
    done_ms BIGINT NOT NULL,
    PRIMARY KEY (version)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- name: migrations
-- What was applied, and what is being applied (done_ms 0).
SELECT version, started_ms, done_ms FROM schema_version ORDER BY version LIMIT 10000;

-- name: begin_migration
-- One of several migrators gets the row, the others a duplicate key.
INSERT INTO schema_version (version, name, started_ms, done_ms) VALUES (?, ?, ?, 0);

-- name: resume_migration
-- Take a step over that was cut off: changes a row for one of several migrators.
UPDATE schema_version SET started_ms = ? WHERE version = ? AND started_ms = ? AND done_ms = 0;

-- name: finish_migration
-- The step is in force.
UPDATE schema_version SET done_ms = ? WHERE version = ?;

-- name: config_version
-- The version of what is configured.
SELECT value FROM note WHERE name = 'config_version';

-- name: raise_note
-- One more, and the row is this transaction's until it ends: what follows is done by one writer
-- at a time, and reads what the writer before it left.
INSERT INTO note (name, value) VALUES (?, 1) ON DUPLICATE KEY UPDATE value = value + 1;

-- name: all_producers
-- Deleted ones included; a small table.
SELECT id, name, key_hash, created_ms, updated_ms, deleted_ms FROM biz ORDER BY id
LIMIT 1000000;

-- name: all_consumers
-- As all_producers.
SELECT id, name, url, config, created_ms, updated_ms, deleted_ms FROM receive ORDER BY id
LIMIT 1000000;

-- name: all_subscriptions
-- As all_producers.
SELECT id, biz_id, receive_id, status, status_reason, config, created_ms, updated_ms, deleted_ms
FROM biz_receive ORDER BY id LIMIT 1000000;

-- name: lock_subscription
-- As all_subscriptions, one of them, at this very moment and until the transaction ends.
SELECT id, biz_id, receive_id, status, status_reason, config, created_ms, updated_ms, deleted_ms
FROM biz_receive WHERE id = ? FOR UPDATE;

-- name: last_producer_id
-- Deleted ones too: an id is never used twice.
SELECT id FROM biz ORDER BY id DESC LIMIT 1;

-- name: last_consumer_id
-- As last_producer_id.
SELECT id FROM receive ORDER BY id DESC LIMIT 1;

-- name: last_subscription_id
-- As last_producer_id.
SELECT id FROM biz_receive ORDER BY id DESC LIMIT 1;

-- name: producer_named
-- Who has this name now; reads a small table through, for a change by a person.
SELECT id FROM biz WHERE name = ? AND deleted_ms = 0 LIMIT 1;

-- name: consumer_named
-- As producer_named.
SELECT id FROM receive WHERE name = ? AND deleted_ms = 0 LIMIT 1;

-- name: deleted_producer
-- Whether it exists, and still does; locked, so that it stays so.
SELECT deleted_ms FROM biz WHERE id = ? FOR UPDATE;

-- name: deleted_consumer
-- As deleted_producer.
SELECT deleted_ms FROM receive WHERE id = ? FOR UPDATE;

-- name: deleted_subscription
-- As deleted_producer.
SELECT deleted_ms FROM biz_receive WHERE id = ? FOR UPDATE;

-- name: store_producer
-- A new one, or a change of the one with this id.
INSERT INTO biz (id, name, key_hash, created_ms, updated_ms, deleted_ms) VALUES ?rows
ON DUPLICATE KEY UPDATE name = VALUES(name), key_hash = VALUES(key_hash),
    created_ms = VALUES(created_ms), updated_ms = VALUES(updated_ms),
    deleted_ms = VALUES(deleted_ms);

-- name: store_consumer
-- As store_producer.
INSERT INTO receive (id, name, url, config, created_ms, updated_ms, deleted_ms) VALUES ?rows
ON DUPLICATE KEY UPDATE name = VALUES(name), url = VALUES(url), config = VALUES(config),
    created_ms = VALUES(created_ms), updated_ms = VALUES(updated_ms),
    deleted_ms = VALUES(deleted_ms);

-- name: store_subscription
-- As store_producer.
INSERT INTO biz_receive
(id, biz_id, receive_id, status, status_reason, config, created_ms, updated_ms, deleted_ms)
VALUES ?rows
ON DUPLICATE KEY UPDATE biz_id = VALUES(biz_id), receive_id = VALUES(receive_id),
    status = VALUES(status), status_reason = VALUES(status_reason), config = VALUES(config),
    created_ms = VALUES(created_ms), updated_ms = VALUES(updated_ms),
    deleted_ms = VALUES(deleted_ms);

-- name: set_subscription_status
-- Only the status, so that it never overwrites another change.
UPDATE biz_receive SET status = ?, status_reason = ?, updated_ms = ? WHERE id = ?;

-- name: take_keys
-- New keys; a duplicate key error where one is known.
INSERT INTO biz_dedup (h, biz_id, dkey, msg_id, created_ms) VALUES ?rows;

-- name: claim_keys
-- The first message with a key keeps it; who that is, key_holders says.
INSERT IGNORE INTO biz_dedup (h, biz_id, dkey, msg_id, created_ms) VALUES ?rows;

-- name: key_holders
-- Which messages hold the keys of these hashes.
SELECT biz_id, dkey, msg_id FROM biz_dedup WHERE h IN (?);

-- name: known_messages
-- Which of these ids exist.
SELECT id FROM biz_msg WHERE id IN (?);

-- name: message
-- One message, all of it.
SELECT id, biz_id, type, content_type, headers, dkey, ordering_key, deliver_ms, expires_ms, payload
FROM biz_msg WHERE id = ?;

-- name: payloads
-- Of these messages.
SELECT id, payload FROM biz_msg WHERE id IN (?);

-- name: records
-- Messages as records; a payload larger than the first value is not read.
SELECT id, biz_id, type, content_type, headers, ordering_key, deliver_ms, expires_ms,
       CASE WHEN LENGTH(payload) <= ? THEN payload ELSE NULL END
FROM biz_msg WHERE id IN (?);

-- name: last_message_id
-- The newest message.
SELECT id FROM biz_msg ORDER BY id DESC LIMIT 1;

-- name: unsplit
-- Messages in an open window of ids without any delivery row; a large payload is not read.
SELECT m.id, m.biz_id, m.type, m.content_type, m.headers, m.ordering_key, m.deliver_ms,
       m.expires_ms, CASE WHEN LENGTH(m.payload) <= ? THEN m.payload ELSE NULL END
FROM biz_msg AS m LEFT JOIN receive_msg AS r ON r.msg_id = m.id
WHERE m.id > ? AND m.id < ? AND r.msg_id IS NULL
ORDER BY m.id LIMIT ?;

-- name: insert_deliveries
-- The columns of a split's rows; a duplicate key error where one is known.
INSERT INTO receive_msg (msg_id, sub_id, status, attempts, reason, due_ms, updated_ms) VALUES ?rows;

-- name: states_of_subscription
-- Deliveries of one subscription to these messages.
SELECT msg_id, sub_id, status, attempts, due_ms, updated_ms FROM receive_msg
WHERE sub_id >= ? AND sub_id <= ? AND msg_id IN (?);

-- name: states_of_message
-- Deliveries of one message to these subscriptions.
SELECT msg_id, sub_id, status, attempts, due_ms, updated_ms FROM receive_msg
WHERE msg_id >= ? AND msg_id <= ? AND sub_id IN (?);

-- name: lock_states
-- As states_of_subscription and reason, at this very moment and until the transaction ends.
SELECT msg_id, sub_id, status, attempts, due_ms, updated_ms, reason FROM receive_msg
WHERE sub_id >= ? AND sub_id <= ? AND msg_id IN (?) FOR UPDATE;

-- name: lock_pending
-- As lock_states, those that are pending: as timers. The number is as the last one of `finish`.
SELECT due_ms, msg_id FROM receive_msg
WHERE sub_id >= ? AND sub_id <= ? AND status = 0 AND reason <= ? AND msg_id IN (?) FOR UPDATE;

-- name: rows_of_subscription
-- As deliveries, of one subscription and these messages.
SELECT msg_id, sub_id, status, attempts, reason, due_ms, updated_ms FROM receive_msg
WHERE sub_id >= ? AND sub_id <= ? AND msg_id IN (?);

-- name: deliveries
-- Of one message.
SELECT msg_id, sub_id, status, attempts, reason, due_ms, updated_ms
FROM receive_msg WHERE msg_id = ? ORDER BY sub_id;

-- name: attempts
-- Of one message, of its subscriptions from the second to the third number.
SELECT msg_id, sub_id, attempt, at_ms, latency_ms, code, error, response
FROM receive_attempt WHERE msg_id = ? AND sub_id BETWEEN ? AND ? ORDER BY sub_id, attempt;

-- name: list_all
-- Newest first, from the first number to the second and third (a message, and of it only
-- subscriptions below); not the rows of messages that matched nobody.
SELECT msg_id, sub_id, status, attempts, reason, due_ms, updated_ms FROM receive_msg
WHERE msg_id >= ? AND msg_id <= ? AND (msg_id < ? OR sub_id < ?)
  AND sub_id > 0 AND status IN (?)
ORDER BY msg_id DESC, sub_id DESC LIMIT ?;

-- name: list_one
-- As list_all, of one subscription (0 too).
SELECT msg_id, sub_id, status, attempts, reason, due_ms, updated_ms FROM receive_msg
WHERE sub_id >= ? AND sub_id <= ? AND msg_id >= ? AND msg_id <= ? AND status IN (?)
ORDER BY sub_id DESC, msg_id DESC LIMIT ?;

-- name: list_drops
-- Keys of dropped deliveries as list_all gives them.
SELECT msg_id, sub_id FROM receive_drop
WHERE msg_id >= ? AND msg_id <= ? AND (msg_id < ? OR sub_id < ?)
ORDER BY msg_id DESC, sub_id DESC LIMIT ?;

-- name: list_drops_one
-- Keys of dropped deliveries as list_one gives them.
SELECT msg_id, sub_id FROM receive_drop
WHERE sub_id >= ? AND sub_id <= ? AND msg_id >= ? AND msg_id <= ?
ORDER BY sub_id DESC, msg_id DESC LIMIT ?;

-- name: waiting_messages
-- Of which messages a subscription has pending deliveries, in no order, up to a limit.
SELECT msg_id FROM receive_timer WHERE sub_id = ? LIMIT ?;

-- name: ledger
-- The kept accounts, and how many slots each is made of.
SELECT sub_id, SUM(matched), SUM(delivered), SUM(dropped), SUM(queued), SUM(pending), COUNT(*)
FROM ledger GROUP BY sub_id ORDER BY sub_id LIMIT 1000000;

-- name: delivery_page
-- Deliveries behind a key (a message, and of it a subscription), for counting all, page by page.
-- Reading a column of a row costs the client a microsecond: only what is wanted of all.
SELECT msg_id, sub_id, status FROM receive_msg
WHERE msg_id >= ? AND (msg_id > ? OR sub_id > ?) ORDER BY msg_id, sub_id LIMIT ?;

-- name: known_timers
-- Which of these messages are in the list of what a subscription has pending until these times.
SELECT msg_id FROM receive_timer
WHERE sub_id >= ? AND sub_id <= ? AND ?any(due_ms = ? AND msg_id IN (?));

-- name: known_drops
-- Which of these messages are in the list of what a subscription's drops are.
SELECT msg_id FROM receive_drop WHERE sub_id >= ? AND sub_id <= ? AND msg_id IN (?);

-- name: queued_slots
-- Where queued deliveries are, or were: the sums over the lanes say which.
SELECT sub_id, slot, queued FROM ledger WHERE queued <> 0 ORDER BY sub_id, slot LIMIT 1000000;

-- name: queued_slots_of
-- As queued_slots, of these subscriptions.
SELECT sub_id, slot, queued FROM ledger WHERE sub_id IN (?) AND queued <> 0
ORDER BY sub_id, slot LIMIT 1000000;

-- name: lock_account
-- All slots of one subscription, at this very moment and until the transaction ends.
SELECT slot, matched, delivered, dropped, queued, pending FROM ledger
WHERE sub_id = ? ORDER BY slot LIMIT 100000 FOR UPDATE;

-- name: delete_slots
-- Slots that lock_account read; what was added meanwhile stays.
DELETE FROM ledger WHERE sub_id = ? AND slot IN (?);

-- name: change_ledger
-- Add what changed, which may be negative.
INSERT INTO ledger (sub_id, slot, matched, delivered, dropped, queued, pending) VALUES ?rows
ON DUPLICATE KEY UPDATE matched = matched + VALUES(matched),
    delivered = delivered + VALUES(delivered), dropped = dropped + VALUES(dropped),
    queued = queued + VALUES(queued), pending = pending + VALUES(pending);

-- name: change_minutes
-- Add what happened.
INSERT INTO stat_minute (sub_id, minute, lane, matched, delivered, dropped, failed, latency_ms)
VALUES ?rows
ON DUPLICATE KEY UPDATE matched = matched + VALUES(matched),
    delivered = delivered + VALUES(delivered), dropped = dropped + VALUES(dropped),
    failed = failed + VALUES(failed), latency_ms = latency_ms + VALUES(latency_ms);

-- name: finish
-- One final outcome for messages of a subscription that stand at a number now. A last number of 0
-- passes over those that were replayed, which keep the reason why they were dropped until then.
UPDATE receive_msg SET status = ?, attempts = ?, reason = ?, due_ms = 0, updated_ms = ?
WHERE sub_id = ? AND msg_id IN (?) AND status = ? AND reason <= ?;

-- name: move
-- New states of open deliveries whose rows are locked, so no row is ever made here.
INSERT INTO receive_msg (msg_id, sub_id, status, attempts, reason, due_ms, updated_ms) VALUES ?rows
ON DUPLICATE KEY UPDATE status = VALUES(status), attempts = VALUES(attempts),
    due_ms = VALUES(due_ms), updated_ms = VALUES(updated_ms);

-- name: logged_attempts
-- The tries of these messages.
SELECT msg_id, sub_id, attempt, at_ms FROM receive_attempt WHERE msg_id IN (?);

-- name: earlier_attempts
-- Tries of these messages before the last replay of their deliveries.
SELECT msg_id, sub_id, attempt, at_ms FROM receive_attempt WHERE msg_id IN (?) AND attempt <= 0;

-- name: end_run
-- The tries of a run that ends, of locked deliveries, move below zero.
UPDATE receive_attempt SET attempt = attempt + ?
WHERE sub_id = ? AND msg_id IN (?) AND attempt > 0;

-- name: replay
-- Locked deliveries of one subscription wait again; the reason stays, see `finish`.
UPDATE receive_msg SET status = 0, attempts = 0, due_ms = 0, updated_ms = ?
WHERE sub_id = ? AND msg_id IN (?);

-- name: delete_drops
-- Deliveries of one subscription that are dropped no more.
DELETE FROM receive_drop WHERE sub_id = ? AND msg_id IN (?);

-- name: insert_drops
-- Deliveries that are dropped now.
INSERT IGNORE INTO receive_drop (msg_id, sub_id) VALUES ?rows;

-- name: insert_timers
-- Deliveries that are pending now.
INSERT IGNORE INTO receive_timer (sub_id, due_ms, msg_id) VALUES ?rows;

-- name: delete_timers
-- Deliveries of one subscription that are pending no more. One statement for all due times: it
-- looks each timer up by its whole key (2.5 ms for 100 times; as many statements took 33).
DELETE FROM receive_timer WHERE sub_id = ? AND ?any(due_ms = ? AND msg_id IN (?));

-- name: timers
-- What a subscription has pending, due from the first time to the second. To go on behind a key
-- takes two of these: the rest of its due time, then all later ones. One with an OR reads
-- everything before the key again (51 000 rows for 1000, 50 pages down), or sorts.
SELECT sub_id, due_ms, msg_id FROM receive_timer
WHERE sub_id >= ? AND sub_id <= ? AND due_ms >= ? AND due_ms <= ? AND msg_id > ?
ORDER BY sub_id, due_ms, msg_id LIMIT ?;

-- name: order_heads
-- The deliveries begun last, of these keys of one subscription.
SELECT okey, seq, msg_id, prev_id FROM receive_order
WHERE sub_id >= ? AND sub_id <= ? AND okey IN (?);

-- name: set_order_heads
-- Only a higher number moves a key on. seq comes last: assignments are carried out from left to
-- right, or all by the old row, and either way those before it compare with the stored number.
INSERT INTO receive_order (sub_id, okey, seq, msg_id, prev_id, updated_ms) VALUES ?rows
ON DUPLICATE KEY UPDATE msg_id = IF(VALUES(seq) > seq, VALUES(msg_id), msg_id),
    prev_id = IF(VALUES(seq) > seq, VALUES(prev_id), prev_id),
    updated_ms = IF(VALUES(seq) > seq, VALUES(updated_ms), updated_ms),
    seq = IF(VALUES(seq) > seq, VALUES(seq), seq);

-- name: set_status
-- Locked deliveries of one subscription take a status; their due time stays.
UPDATE receive_msg SET status = ?, updated_ms = ? WHERE sub_id = ? AND msg_id IN (?);

-- name: set_pending
-- Locked deliveries of one subscription wait again, until this time.
UPDATE receive_msg SET status = 0, due_ms = ?, updated_ms = ? WHERE sub_id = ? AND msg_id IN (?);

-- name: drop
-- Locked deliveries of one subscription are dropped.
UPDATE receive_msg SET status = 3, reason = ?, due_ms = 0, updated_ms = ?
WHERE sub_id = ? AND msg_id IN (?);

-- name: untouched
-- Queued deliveries of one subscription in a window of messages, untouched since.
SELECT sub_id, msg_id, attempts, updated_ms FROM receive_msg
WHERE sub_id >= ? AND sub_id <= ? AND msg_id > ? AND msg_id <= ?
  AND status = 1 AND updated_ms < ?
ORDER BY sub_id, msg_id LIMIT ?;

-- name: workers
-- At most 256 rows.
SELECT id, owner, expires_ms, floor_ms FROM worker ORDER BY id LIMIT 256;

-- name: lease_worker
-- The number is free: raise_note lets one transaction at a time lease.
INSERT INTO worker (id, owner, expires_ms, floor_ms) VALUES ?rows
ON DUPLICATE KEY UPDATE owner = VALUES(owner), expires_ms = VALUES(expires_ms),
    floor_ms = VALUES(floor_ms);

-- name: lock_worker
-- One number, at this very moment and until the transaction ends.
SELECT owner, expires_ms, floor_ms FROM worker WHERE id = ? FOR UPDATE;

-- name: note
-- One number.
SELECT value FROM note WHERE name = ?;

-- name: set_note
-- Keep one number.
INSERT INTO note (name, value) VALUES ?rows ON DUPLICATE KEY UPDATE value = VALUES(value);
