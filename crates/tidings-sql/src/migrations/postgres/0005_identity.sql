-- By which this outbox is told from all others where something is done in its name. Made once.
CREATE TABLE {t}identity (
    one smallint PRIMARY KEY CHECK (one = 1),
    id text NOT NULL
);
INSERT INTO {t}identity (one, id) VALUES (1, replace(gen_random_uuid()::text, '-', ''));
