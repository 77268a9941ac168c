-- Who holds what. Rows stay, because the token of a name only grows. Times are milliseconds since 1970 by this database's
-- clock.
CREATE TABLE {t}locks (
    name text PRIMARY KEY,
    token bigint NOT NULL,
    holder text NOT NULL,
    acquired_at bigint NOT NULL,
    -- Renewals and fences hold until then, and it is 0 when the lock was given back.
    held_until bigint NOT NULL,
    -- Nobody else gets it before that.
    kept_until bigint NOT NULL
);
