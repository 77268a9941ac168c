-- Which messages were handled: an id within its scope, which is a group. The second index is for those that are to go.
CREATE TABLE {t}inbox (
    scope text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (scope, id)
);
CREATE INDEX inbox_at ON {t}inbox (at);
