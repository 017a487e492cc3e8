//! Notes when the agent is built: certificates that had run out by then are refused even by a machine
//! that does not know what time it is. `SOURCE_DATE_EPOCH` (reproducible-builds.org) wins.

use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let given = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse::<u64>().ok());
    #[expect(clippy::disallowed_methods, reason = "the build's own time")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    println!("cargo::rustc-env=STILLWATCH_BUILT={}", given.unwrap_or(now));
    println!("cargo::rerun-if-changed=src");
}
