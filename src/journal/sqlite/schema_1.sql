-- One row: whose places these are, and the oldest place that is kept. What lies before it is gone.
CREATE TABLE journal (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch TEXT NOT NULL,
    oldest INTEGER NOT NULL,
    -- The run of the system during which places were given that may not be on the disk yet.
    unsynced_since_boot TEXT
);

-- Times are milliseconds since 1970 in UTC. Audiences are the keys of `places`, one a line. `appended_at` never falls from
-- one place to the next.
CREATE TABLE notifications (
    seq INTEGER PRIMARY KEY,
    appended_at INTEGER NOT NULL,
    expires_at INTEGER,
    audiences TEXT NOT NULL,
    name TEXT NOT NULL,
    source TEXT NOT NULL,
    timestamp TEXT NOT NULL,
    payload BLOB NOT NULL
);

-- Which places are for whom: '*' for everyone, 'u:' and a user, 'r:' and a room.
CREATE TABLE places (
    audience TEXT NOT NULL,
    seq INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (audience, seq)
) WITHOUT ROWID;

-- The idempotency keys that were used lately, in the order of their use.
CREATE TABLE keys (
    number INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    used_at INTEGER NOT NULL,
    fingerprint BLOB NOT NULL,
    seq INTEGER NOT NULL
);
