-- Who holds what. Rows stay, because the token of a name only grows. Times are milliseconds since 1970 by this database's
-- clock.
CREATE TABLE {t}locks (
    name TEXT PRIMARY KEY,
    token INTEGER NOT NULL,
    holder TEXT NOT NULL,
    acquired_at INTEGER NOT NULL,
    -- Renewals and fences hold until then, and it is 0 when the lock was given back.
    held_until INTEGER NOT NULL,
    -- Nobody else gets it before that.
    kept_until INTEGER NOT NULL
) STRICT;
