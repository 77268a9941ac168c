-- What was published in transactions and is not sent yet. Ids are never given twice. Times are milliseconds since 1970.
CREATE TABLE {t}outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    channel TEXT NOT NULL,
    to_partition INTEGER,
    due_at INTEGER,
    message_key BLOB,
    payload BLOB,
    headers BLOB NOT NULL,
    message_time INTEGER,
    written_at INTEGER NOT NULL
) STRICT;

-- What the broker refuses for good, with why.
CREATE TABLE {t}outbox_parked (
    id INTEGER PRIMARY KEY,
    channel TEXT NOT NULL,
    to_partition INTEGER,
    due_at INTEGER,
    message_key BLOB,
    payload BLOB,
    headers BLOB NOT NULL,
    message_time INTEGER,
    written_at INTEGER NOT NULL,
    parked_at INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT;
CREATE INDEX {t}outbox_parked_key ON {t}outbox_parked (channel, message_key);
