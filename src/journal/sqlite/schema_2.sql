-- What a row says is sealed with a checksum (checksum.rs); rows of the first layout have none. `reached_at` is the latest time
-- at which this row or one before it was appended, where that is not its own: then the clock was put back in between.
ALTER TABLE blocks ADD COLUMN checksum INTEGER;
ALTER TABLE blocks ADD COLUMN reached_at INTEGER;
ALTER TABLE segments ADD COLUMN checksum INTEGER;
-- A page has all audiences from its own to before `next`; the first page of a segment begins with the empty text, the last one has
-- no `next`. So a look-up that ends at the wrong page is found out.
ALTER TABLE pages ADD COLUMN checksum INTEGER;
ALTER TABLE pages ADD COLUMN next TEXT;

-- For how many milliseconds of running nothing goes by its age, since the clock may be wrong (aging.rs), and which time
-- the journal had reached when that began.
ALTER TABLE journal ADD COLUMN held_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE journal ADD COLUMN held_for INTEGER NOT NULL DEFAULT 0;
-- This is a copy of a journal that went on without it: the first start begins a new epoch.
ALTER TABLE journal ADD COLUMN is_copy INTEGER NOT NULL DEFAULT 0;

-- Places from `first` to `last` that hold nothing though they were given, and why: `import` (the export that the journal was
-- made of did not have them) or `damage` (they could not be read, and no index says whom they were for).
CREATE TABLE holes (
    first INTEGER PRIMARY KEY,
    last INTEGER NOT NULL,
    cause TEXT NOT NULL
);

-- The idempotency keys that were used lately, in the order of their use, some dozen a row: `count` keys, of which the first has
-- the number `first` and all have lower numbers than those of the next row. Keys that were used at `ended` or earlier had had
-- their window when the row was written. How they are written down is said in keys.rs; a step of the migration takes over those
-- of the first layout.
CREATE TABLE key_batches (
    first INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    keys BLOB NOT NULL,
    checksum INTEGER NOT NULL
);
