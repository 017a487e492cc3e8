//! The table of all keys: docs/configuration.md shows it.

use runtime::settings::{Key, Kind};

/// See the module's documentation.
pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "relay.listen",
        kind: Kind::Text,
        default: "\"[::]:5000\"",
        help: "Address and port, such as `127.0.0.1:5000`. `[::]` takes IPv4 and IPv6 on all addresses (only IPv4 where the machine has no IPv6). Flag `--listen`.",
    },
    Key {
        name: "relay.data_dir",
        kind: Kind::Text,
        default: "",
        help: "Folder of the database `stillwatch.db`, and of a tutorial's `global.db` to take over. If not given: systemd's state directory; else `/var/lib/stillwatch-relay` for root; else the current folder. Flag `--data-dir`.",
    },
    Key {
        name: "relay.password_file",
        kind: Kind::Text,
        default: "",
        help: "File with the password for uploads, one line, readable by its owner only. Flag `--password-file`.",
    },
    Key {
        name: "relay.max_cameras",
        kind: Kind::Integer(1, 10_000),
        default: "64",
        help: "Most cameras. One that is not configured appears with its first picture, if it knows the relay's password.",
    },
    Key {
        name: "relay.max_connections",
        kind: Kind::Integer(1, 1_000_000),
        default: "4096",
        help: "Most connections, viewers and cameras together; further ones get 503.",
    },
    Key {
        name: "relay.max_connections_per_address",
        kind: Kind::Integer(1, 1_000_000),
        default: "256",
        help: "Most connections from one address (for IPv6: from one /64); further ones get 429.",
    },
    Key {
        name: "relay.proxies",
        kind: Kind::Text,
        default: "\"127.0.0.0/8 ::1/128\"",
        help: "Addresses without that limit, such as those of a reverse proxy, separated by spaces; `none` for none.",
    },
    Key {
        name: "relay.max_uploads",
        kind: Kind::Integer(1, 10_000),
        default: "32",
        help: "Most uploads at the same time; further ones get 503. Times `max_frame_bytes`, it bounds the memory for uploads.",
    },
    Key {
        name: "relay.max_upload_rate",
        kind: Kind::Integer(1, 10_000),
        default: "60",
        help: "Most pictures of one camera in a second, over two seconds; further ones get 429.",
    },
    Key {
        name: "relay.max_sizes",
        kind: Kind::Integer(1, 10_000),
        default: "8",
        help: "Most sizes that one camera's pictures are scaled to at the same time; further ones get 503 until one was not asked for during 30 s. Sizes that come to the same picture count once, and the picture's own does not count.",
    },
    Key {
        name: "relay.max_frame_bytes",
        kind: Kind::Integer(1_024, 1_073_741_824),
        default: "8388608",
        help: "Largest picture in bytes; a larger one gets 413.",
    },
    Key {
        name: "relay.body_timeout",
        kind: Kind::Duration(100, 600_000),
        default: "\"30s\"",
        help: "How long an upload's body may take to arrive; then it gets 408.",
    },
    Key {
        name: "relay.header_timeout",
        kind: Kind::Duration(100, 600_000),
        default: "\"10s\"",
        help: "How long a request's head may take to arrive, and how long a connection may wait for its next request.",
    },
    Key {
        name: "relay.peer_timeout",
        kind: Kind::Duration(100, 3_600_000),
        default: "\"45s\"",
        help: "A viewer that takes nothing for this long is disconnected; so is a WebSocket from which nothing comes though it was pinged three times in it.",
    },
    Key {
        name: "freshness.stale_after",
        kind: Kind::Duration(100, 86_400_000),
        default: "\"10s\"",
        help: "A camera without a new picture for this long (or for five of its own intervals, if that is longer) is stale.",
    },
    Key {
        name: "freshness.frozen_after",
        kind: Kind::Duration(100, 86_400_000),
        default: "\"15s\"",
        help: "A camera whose uploads bring the same bytes for this long is frozen, unless its source says that it may repeat itself.",
    },
    Key {
        name: "freshness.frozen_uploads",
        kind: Kind::Integer(2, 1_000_000),
        default: "5",
        help: "And at least so many uploads have to be the same.",
    },
    Key {
        name: "freshness.offline_after",
        kind: Kind::Duration(100, 86_400_000),
        default: "\"1m\"",
        help: "A camera that uploads nothing at all for this long is offline (not before it is stale).",
    },
    Key {
        name: "cameras.*.password_file",
        kind: Kind::Text,
        default: "",
        help: "This camera's own password, instead of the relay's.",
    },
    Key {
        name: "cameras.*.stale_after",
        kind: Kind::Duration(100, 86_400_000),
        default: "",
        help: "As `freshness.stale_after`, for this camera.",
    },
    Key {
        name: "cameras.*.frozen_after",
        kind: Kind::Duration(100, 86_400_000),
        default: "",
        help: "As `freshness.frozen_after`, for this camera.",
    },
    Key {
        name: "cameras.*.frozen_uploads",
        kind: Kind::Integer(2, 1_000_000),
        default: "",
        help: "As `freshness.frozen_uploads`, for this camera.",
    },
    Key {
        name: "cameras.*.offline_after",
        kind: Kind::Duration(100, 86_400_000),
        default: "",
        help: "As `freshness.offline_after`, for this camera.",
    },
    Key {
        name: "store.interval",
        kind: Kind::Duration(10, 3_600_000),
        default: "\"1s\"",
        help: "Least time between two writes to the database: a restart after a crash shows a picture that is older by no more than about this.",
    },
    Key {
        name: "export.dir",
        kind: Kind::Text,
        default: "",
        help: "Folder for files that a web server serves: `live.jpeg`, `live800x600.jpeg`, `status.json`, and the same in `cameras/ID/`. It has to exist. Without it nothing is exported.",
    },
    Key {
        name: "export.sizes",
        kind: Kind::Text,
        default: "",
        help: "Sizes to export beside the original, separated by spaces, such as `800x600 320x240`.",
    },
    Key {
        name: "export.interval",
        kind: Kind::Duration(20, 3_600_000),
        default: "\"200ms\"",
        help: "Least time between two exports.",
    },
    Key {
        name: "export.durable",
        kind: Kind::Flag,
        default: "false",
        help: "Whether each file is synced to the disk: only of use where files are to survive a power cut.",
    },
];
