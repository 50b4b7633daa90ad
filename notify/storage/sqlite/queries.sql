-- Every statement of the SQLite storage, by name. The lines under a name say what it is for.
-- Sets of keys come as one JSON text and are read with json_each: no limit of variables, and one
-- prepared statement for every size. CROSS JOIN fixes the order: the keys drive the look-up.
-- A unary + keeps a term away from the indexes, a pair (msg_id, sub_id) asks for the primary key.

-- name: config_version
-- The version of what is configured.
SELECT value FROM note WHERE name = 'config_version';

-- name: raise_config_version
-- Every change of a producer, consumer or subscription is seen by its version.
INSERT INTO note (name, value) VALUES ('config_version', 1)
ON CONFLICT (name) DO UPDATE SET value = value + 1;

-- name: all_producers
-- Deleted ones included.
SELECT id, name, key_hash, created_ms, updated_ms, deleted_ms FROM biz ORDER BY id;

-- name: all_consumers
-- Deleted ones included.
SELECT id, name, url, config, created_ms, updated_ms, deleted_ms FROM receive ORDER BY id;

-- name: all_subscriptions
-- Deleted ones included.
SELECT id, biz_id, receive_id, status, status_reason, config, created_ms, updated_ms, deleted_ms
FROM biz_receive ORDER BY id;

-- name: one_subscription
-- As all_subscriptions, one of them.
SELECT id, biz_id, receive_id, status, status_reason, config, created_ms, updated_ms, deleted_ms
FROM biz_receive WHERE id = ?;

-- name: next_producer_id
-- Above every id ever given, deleted ones too: an id is never used twice.
SELECT coalesce(max(id), 0) + 1 FROM biz;

-- name: next_consumer_id
-- As next_producer_id.
SELECT coalesce(max(id), 0) + 1 FROM receive;

-- name: next_subscription_id
-- As next_producer_id.
SELECT coalesce(max(id), 0) + 1 FROM biz_receive;

-- name: producer_named
-- Who has this name now.
SELECT id FROM biz WHERE name = ? AND deleted_ms = 0;

-- name: consumer_named
-- Who has this name now.
SELECT id FROM receive WHERE name = ? AND deleted_ms = 0;

-- name: insert_producer
-- A new producer.
INSERT INTO biz (id, name, key_hash, created_ms, updated_ms, deleted_ms)
VALUES (?, ?, ?, ?, ?, ?);

-- name: insert_consumer
-- A new consumer.
INSERT INTO receive (id, name, url, config, created_ms, updated_ms, deleted_ms)
VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: insert_subscription
-- A new subscription.
INSERT INTO biz_receive
(id, biz_id, receive_id, status, status_reason, config, created_ms, updated_ms, deleted_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: update_producer
-- What is deleted stays deleted: a change that crosses a deletion finds nothing.
UPDATE biz SET name = ?2, key_hash = ?3, created_ms = ?4, updated_ms = ?5, deleted_ms = ?6
WHERE id = ?1 AND (deleted_ms = 0 OR ?6 <> 0);

-- name: update_consumer
-- As update_producer.
UPDATE receive
SET name = ?2, url = ?3, config = ?4, created_ms = ?5, updated_ms = ?6, deleted_ms = ?7
WHERE id = ?1 AND (deleted_ms = 0 OR ?7 <> 0);

-- name: update_subscription
-- As update_producer.
UPDATE biz_receive
SET biz_id = ?2, receive_id = ?3, status = ?4, status_reason = ?5, config = ?6,
    created_ms = ?7, updated_ms = ?8, deleted_ms = ?9
WHERE id = ?1 AND (deleted_ms = 0 OR ?9 <> 0);

-- name: set_subscription_status
-- Only the status, so that it never overwrites another change.
UPDATE biz_receive SET status = ?2, status_reason = ?3, updated_ms = ?4
WHERE id = ?1 AND deleted_ms = 0;

-- name: set_seen_subscription_status
-- As set_subscription_status, if nobody changed it since it was seen.
UPDATE biz_receive SET status = ?2, status_reason = ?3, updated_ms = ?4
WHERE id = ?1 AND deleted_ms = 0 AND status = ?5 AND updated_ms = ?6;

-- name: claim_keys
-- The first message with a key keeps it.
INSERT INTO biz_dedup (h, biz_id, dkey, msg_id, created_ms) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (h, biz_id, dkey) DO NOTHING;

-- name: key_holders
-- Which messages hold these keys: [[h, producer, key], ...].
SELECT d.biz_id, d.dkey, d.msg_id
FROM json_each(?) AS k CROSS JOIN biz_dedup AS d
WHERE d.h = json_extract(k.value, '$[0]')
  AND d.biz_id = json_extract(k.value, '$[1]')
  AND d.dkey = json_extract(k.value, '$[2]');

-- name: insert_messages
-- The columns of a batch's rows; the same message again is left as it is.
INSERT INTO biz_msg
(id, biz_id, type, content_type, headers, dkey, ordering_key, deliver_ms, expires_ms, payload)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO NOTHING;

-- name: known_messages
-- Which of these ids exist: [id, ...].
SELECT m.id FROM json_each(?) AS k CROSS JOIN biz_msg AS m WHERE m.id = k.value;

-- name: message
-- One message, all of it.
SELECT id, biz_id, type, content_type, headers, dkey, ordering_key, deliver_ms, expires_ms, payload
FROM biz_msg WHERE id = ?;

-- name: payloads
-- Of these messages: [id, ...].
SELECT m.id, m.payload FROM json_each(?) AS k CROSS JOIN biz_msg AS m WHERE m.id = k.value;

-- name: last_message_id
-- The newest message.
SELECT coalesce(max(id), 0) FROM biz_msg;

-- name: insert_deliveries
-- The columns of a split's rows; a row that exists is left as it is.
INSERT INTO receive_msg (msg_id, sub_id, status, attempts, reason, due_ms, updated_ms)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (msg_id, sub_id) DO NOTHING;

-- name: standings
-- Of these deliveries: [[message, subscription], ...].
SELECT r.msg_id, r.sub_id, r.status, r.attempts
FROM json_each(?) AS k CROSS JOIN receive_msg AS r
WHERE r.msg_id = json_extract(k.value, '$[0]') AND r.sub_id = json_extract(k.value, '$[1]');

-- name: states
-- As standings, with what decides whether an outcome is news.
SELECT r.msg_id, r.sub_id, r.status, r.reason, r.attempts, r.updated_ms
FROM json_each(?) AS k CROSS JOIN receive_msg AS r
WHERE r.msg_id = json_extract(k.value, '$[0]') AND r.sub_id = json_extract(k.value, '$[1]');

-- name: deliveries
-- Of one message.
SELECT msg_id, sub_id, status, attempts, reason, due_ms, updated_ms
FROM receive_msg WHERE msg_id = ? ORDER BY sub_id;

-- name: attempts
-- Of one message, of its subscriptions from the second to the third number.
SELECT msg_id, sub_id, attempt, at_ms, latency_ms, code, error, response
FROM receive_attempt WHERE msg_id = ? AND sub_id BETWEEN ? AND ? ORDER BY sub_id, attempt;

-- name: list_all
-- Newest first, messages from :low to :top and of :top only subscriptions below :below; not the
-- rows of messages that matched nobody.
SELECT msg_id, sub_id, status, attempts, reason, due_ms, updated_ms FROM receive_msg
WHERE msg_id BETWEEN :low AND :top AND (+msg_id < :top OR +sub_id < :below)
  AND sub_id > 0 AND status BETWEEN :least AND :most
ORDER BY msg_id DESC, sub_id DESC LIMIT :limit;

-- name: list_all_dropped
-- As list_all; drops are few among the deliveries and have an index.
SELECT msg_id, sub_id, status, attempts, reason, due_ms, updated_ms
FROM receive_msg INDEXED BY receive_msg_dropped
WHERE msg_id BETWEEN :low AND :top AND (+msg_id < :top OR +sub_id < :below)
  AND sub_id > 0 AND status = 3
ORDER BY msg_id DESC, sub_id DESC LIMIT :limit;

-- name: list_one
-- As list_all, of one subscription (0 too).
SELECT msg_id, sub_id, status, attempts, reason, due_ms, updated_ms
FROM receive_msg INDEXED BY receive_msg_sub
WHERE msg_id BETWEEN :low AND :top AND (+msg_id < :top OR +sub_id < :below)
  AND sub_id = :sub_id AND status BETWEEN :least AND :most
ORDER BY msg_id DESC LIMIT :limit;

-- name: list_one_dropped
-- As list_one; reads the drops of all subscriptions, not all deliveries of one.
SELECT msg_id, sub_id, status, attempts, reason, due_ms, updated_ms
FROM receive_msg INDEXED BY receive_msg_dropped
WHERE msg_id BETWEEN :low AND :top AND (+msg_id < :top OR +sub_id < :below)
  AND sub_id = :sub_id AND status = 3
ORDER BY msg_id DESC, sub_id DESC LIMIT :limit;

-- name: ledger
-- The kept accounts.
SELECT sub_id, matched, delivered, dropped, queued, pending FROM ledger ORDER BY sub_id;

-- name: delivery_page
-- Deliveries behind a key, for counting all, page by page.
SELECT msg_id, sub_id, status FROM receive_msg
WHERE (msg_id, sub_id) > (?, ?) ORDER BY msg_id, sub_id LIMIT ?;

-- name: change_ledger
-- Add what changed, which may be negative.
INSERT INTO ledger (sub_id, matched, delivered, dropped, queued, pending)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (sub_id) DO UPDATE SET
    matched = matched + excluded.matched,
    delivered = delivered + excluded.delivered,
    dropped = dropped + excluded.dropped,
    queued = queued + excluded.queued,
    pending = pending + excluded.pending;

-- name: change_minutes
-- Add what happened.
INSERT INTO stat_minute (sub_id, minute, matched, delivered, dropped, failed, latency_ms)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (sub_id, minute) DO UPDATE SET
    matched = matched + excluded.matched,
    delivered = delivered + excluded.delivered,
    dropped = dropped + excluded.dropped,
    failed = failed + excluded.failed,
    latency_ms = latency_ms + excluded.latency_ms;

-- name: finish
-- One final outcome for many messages of a subscription that stand at :before now. :reason_most
-- 0 passes over those that were replayed, which keep the reason why they were dropped until then.
UPDATE receive_msg
SET status = :status, attempts = :attempts, reason = :reason, due_ms = 0, updated_ms = :updated_ms
WHERE (msg_id, sub_id) IN (SELECT value, :sub_id FROM json_each(:msg_ids)) AND +status = :before
  AND reason <= :reason_most;

-- name: retry
-- A new state of one open delivery; that it is news was seen before.
UPDATE receive_msg SET status = ?, attempts = ?, due_ms = ?, updated_ms = ?
WHERE msg_id = ? AND sub_id = ?;

-- name: insert_attempts
-- The log; a try that is in it stays as it is.
INSERT INTO receive_attempt
(msg_id, sub_id, attempt, at_ms, latency_ms, code, error, response)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (msg_id, sub_id, attempt) DO NOTHING;

-- name: logged_attempts
-- The tries of these deliveries: [[message, subscription], ...].
SELECT a.msg_id, a.sub_id, a.attempt, a.at_ms
FROM json_each(?) AS k CROSS JOIN receive_attempt AS a
WHERE a.msg_id = json_extract(k.value, '$[0]') AND a.sub_id = json_extract(k.value, '$[1]');

-- name: earlier_attempts
-- Tries of these deliveries before their last replay: [[message, subscription], ...].
SELECT a.msg_id, a.sub_id, a.attempt, a.at_ms
FROM json_each(?) AS k CROSS JOIN receive_attempt AS a
WHERE a.msg_id = json_extract(k.value, '$[0]') AND a.sub_id = json_extract(k.value, '$[1]')
  AND a.attempt <= 0;

-- name: end_run
-- The tries of a run that ends move below zero: [id, ...].
UPDATE receive_attempt SET attempt = attempt + :place
WHERE (msg_id, sub_id) IN (SELECT value, :sub_id FROM json_each(:msg_ids)) AND attempt > 0;

-- name: replay
-- Dropped ones wait again; the reason stays, see `finish`: [id, ...].
UPDATE receive_msg SET status = 0, attempts = 0, due_ms = 0, updated_ms = :now_ms
WHERE (msg_id, sub_id) IN (SELECT value, :sub_id FROM json_each(:msg_ids)) AND +status = 3;

-- name: unsplit
-- Messages in an open window of ids without any delivery row; a large payload is not read.
SELECT m.id, m.biz_id, m.type, m.content_type, m.headers, m.ordering_key, m.deliver_ms,
       m.expires_ms, iif(length(m.payload) <= ?, m.payload, NULL)
FROM biz_msg AS m
WHERE m.id > ? AND m.id < ?
  AND NOT EXISTS (SELECT 1 FROM receive_msg AS r WHERE r.msg_id = m.id)
ORDER BY m.id LIMIT ?;

-- name: pending
-- Keys of what is due, in the order of the index: nothing is sorted, only what is due is read.
SELECT msg_id, attempts FROM receive_msg INDEXED BY receive_msg_pending
WHERE sub_id = ? AND status = 0 AND due_ms <= ? ORDER BY due_ms, msg_id LIMIT ?;

-- name: waiting
-- As pending, whatever the due time, behind a key.
SELECT due_ms, msg_id FROM receive_msg INDEXED BY receive_msg_pending
WHERE sub_id = ? AND status = 0 AND (due_ms, msg_id) > (?, ?) ORDER BY due_ms, msg_id LIMIT ?;

-- name: order_heads
-- The deliveries begun last, of these keys of one subscription: [key, ...].
SELECT o.okey, o.seq, o.msg_id, o.prev_id
FROM json_each(?) AS k CROSS JOIN receive_order AS o WHERE o.sub_id = ? AND o.okey = k.value;

-- name: set_order_head
-- Only a higher number moves a key on.
INSERT INTO receive_order (sub_id, okey, seq, msg_id, prev_id, updated_ms)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (sub_id, okey) DO UPDATE SET
    seq = excluded.seq, msg_id = excluded.msg_id, prev_id = excluded.prev_id,
    updated_ms = excluded.updated_ms
WHERE excluded.seq > seq;

-- name: records
-- Messages as records, after the number of attempts given: [[id, attempts], ...]; a large
-- payload is not read.
SELECT json_extract(k.value, '$[1]'), m.id, m.biz_id, m.type, m.content_type, m.headers,
       m.ordering_key, m.deliver_ms, m.expires_ms, iif(length(m.payload) <= ?, m.payload, NULL)
FROM json_each(?) AS k CROSS JOIN biz_msg AS m
WHERE m.id = json_extract(k.value, '$[0]');

-- name: set_queued
-- Only what is pending: [id, ...].
UPDATE receive_msg SET status = 1, updated_ms = ?
WHERE (msg_id, sub_id) IN (SELECT value, ? FROM json_each(?)) AND +status = 0;

-- name: drop_pending
-- Up to so many, whatever they wait for.
UPDATE receive_msg SET status = 3, reason = :reason, due_ms = 0, updated_ms = :now_ms
WHERE (msg_id, sub_id) IN (
    SELECT msg_id, sub_id FROM receive_msg WHERE sub_id = :sub_id AND status = 0
    ORDER BY due_ms, msg_id LIMIT :limit
);

-- name: count_forgotten
-- How much is queued and untouched since, by subscription.
SELECT sub_id, count(*) FROM receive_msg INDEXED BY receive_msg_queued
WHERE status = 1 AND updated_ms < ? GROUP BY sub_id;

-- name: forget_queued
-- Back to pending; only of these subscriptions: [id, ...]. What waited in the queue's delay set
-- keeps its time: deliver_at and Retry-After hold over a lost queue.
UPDATE receive_msg INDEXED BY receive_msg_queued
SET status = 0, due_ms = CASE WHEN due_ms > :now_ms THEN due_ms ELSE 0 END, updated_ms = :now_ms
WHERE status = 1 AND updated_ms < :before_ms
  AND sub_id IN (SELECT value FROM json_each(:sub_ids));

-- name: queued
-- Queued deliveries of one subscription in a window of messages, untouched since.
SELECT msg_id, attempts, updated_ms FROM receive_msg INDEXED BY receive_msg_sub
WHERE sub_id = ? AND msg_id > ? AND msg_id <= ? AND status = 1 AND updated_ms < ?
ORDER BY msg_id LIMIT ?;

-- name: forget_row
-- As forget_queued, one delivery as it was read.
UPDATE receive_msg
SET status = 0, due_ms = CASE WHEN due_ms > :now_ms THEN due_ms ELSE 0 END, updated_ms = :now_ms
WHERE msg_id = :message_id AND sub_id = :sub_id
  AND +status = 1 AND attempts = :attempts AND updated_ms = :updated_ms;

-- name: workers
-- At most 256 rows.
SELECT id, owner, expires_ms, floor_ms FROM worker ORDER BY id;

-- name: lease_worker
-- The number is free: nobody else writes between reading and this.
INSERT INTO worker (id, owner, expires_ms, floor_ms) VALUES (?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    owner = excluded.owner, expires_ms = excluded.expires_ms, floor_ms = excluded.floor_ms;

-- name: renew_worker
-- The floor tells this lease from a later one of the same owner.
UPDATE worker SET expires_ms = max(expires_ms, ?) WHERE id = ? AND owner = ? AND floor_ms = ?;

-- name: release_worker
-- Free at once; the floor never falls.
UPDATE worker SET owner = '', expires_ms = 0, floor_ms = max(floor_ms, ?)
WHERE id = ? AND owner = ? AND floor_ms = ?;

-- name: note
-- One number.
SELECT value FROM note WHERE name = ?;

-- name: set_note
-- Keep one number.
INSERT INTO note (name, value) VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET value = excluded.value;
