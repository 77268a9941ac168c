-- By which this outbox is told from all others where something is done in its name. Made once.
CREATE TABLE {t}identity (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id TEXT NOT NULL
) STRICT;
INSERT INTO {t}identity (one, id) VALUES (1, lower(hex(randomblob(16))));
