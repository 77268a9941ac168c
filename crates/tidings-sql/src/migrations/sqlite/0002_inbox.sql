-- Which messages were handled: an id within its scope, which is a group. The second index is for those that are to go.
CREATE TABLE {t}inbox (
    scope TEXT NOT NULL,
    id TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (scope, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX {t}inbox_at ON {t}inbox (at);
