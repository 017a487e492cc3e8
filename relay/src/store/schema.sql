-- The newest frame of each camera. `seq` is a u64, stored as the i64 of the same bits; `time_source`
-- says whose clock `unix_us` is from; `hash` is of `jpeg` and finds what a disk did to it.
CREATE TABLE frame (
    camera      TEXT PRIMARY KEY,
    jpeg        BLOB NOT NULL,
    hash        TEXT NOT NULL,
    seq         INTEGER NOT NULL,
    unix_us     INTEGER NOT NULL,
    time_source TEXT NOT NULL CHECK (time_source IN ('captured', 'arrived')),
    may_repeat  INTEGER NOT NULL,
    arrived_us  INTEGER NOT NULL
) STRICT;
