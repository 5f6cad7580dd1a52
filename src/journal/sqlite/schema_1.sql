-- One row: whose places these are, and the oldest place that is kept. What lies before it is gone.
CREATE TABLE journal (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch TEXT NOT NULL,
    oldest INTEGER NOT NULL,
    -- The run of the system during which places were given that may not be on the disk yet.
    unsynced_since_boot TEXT
);

-- Notifications that were committed together, a few dozen a row: those with the `count` places from `first` on. How they
-- are written down is said in block.rs. Times are milliseconds since 1970 in UTC; `appended_at` never falls from one row to
-- the next.
CREATE TABLE blocks (
    first INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    appended_at INTEGER NOT NULL,
    notifications BLOB NOT NULL
);

-- The parts of the journal that have an index: the places from `first` to `last`. Behind the last of them lies what the
-- service holds in memory.
CREATE TABLE segments (
    first INTEGER PRIMARY KEY,
    last INTEGER NOT NULL
);

-- The index of a segment, sorted by audience and cut into pages: `audience` is the first on its page. How a page is written
-- is said in index.rs.
CREATE TABLE pages (
    segment INTEGER NOT NULL,
    audience TEXT NOT NULL,
    page BLOB NOT NULL,
    -- Not the primary key of a table without row ids: the pages would lie in its inner nodes, a few to each, and a look-up go
    -- through twice as many.
    UNIQUE (segment, audience)
);

-- The idempotency keys that were used lately, in the order of their use.
CREATE TABLE keys (
    number INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    used_at INTEGER NOT NULL,
    fingerprint BLOB NOT NULL,
    seq INTEGER NOT NULL
);
