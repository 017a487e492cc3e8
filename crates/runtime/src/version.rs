//! Which version of Stillwatch this is, and which commit it was built from.

use std::sync::LazyLock;

/// All programs have the same.
pub const NUMBER: &str = env!("CARGO_PKG_VERSION");

/// The commit and its day, such as `abc1234, 2026-11-28`, from the variable `SOURCE_COMMIT` when this was built
/// (`name_source` in scripts/environment.sh). Nothing else is built anew for a commit: who develops builds without it.
pub const COMMIT: Option<&str> = option_env!("SOURCE_COMMIT");

/// What `--version` and the log say: `0.1.0 (abc1234, 2026-11-28)`.
pub fn full() -> &'static str {
    static FULL: LazyLock<String> = LazyLock::new(|| with(COMMIT));
    &FULL
}

fn with(commit: Option<&str>) -> String {
    match commit.filter(|commit| !commit.is_empty()) {
        Some(commit) => format!("{NUMBER} ({commit})"),
        None => NUMBER.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commit_follows_the_number_if_it_is_known() {
        assert_eq!(with(Some("abc1234, 2026-11-28")), format!("{NUMBER} (abc1234, 2026-11-28)"));
        assert_eq!(with(None), NUMBER);
        assert_eq!(with(Some("")), NUMBER);
    }
}
