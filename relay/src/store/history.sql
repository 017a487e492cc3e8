-- Frames of the past, one in an interval. The index alone answers lists and sums; the picture comes
-- last in its row, so that nobody reads it who does not ask for it.
CREATE TABLE history (
    camera      TEXT NOT NULL,
    unix_us     INTEGER NOT NULL,
    time_source TEXT NOT NULL CHECK (time_source IN ('captured', 'arrived')),
    bytes       INTEGER NOT NULL,
    width       INTEGER NOT NULL,
    height      INTEGER NOT NULL,
    hash        TEXT NOT NULL,
    jpeg        BLOB NOT NULL
) STRICT;
CREATE INDEX history_time ON history (camera, unix_us, bytes, width, height, time_source);
