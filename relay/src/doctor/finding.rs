//! What a check found, and how that is printed. Pure.

use std::fmt::{self, Display};

use serde::Serialize;

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Ok,
    /// It works, and may not for ever, or not as it should.
    Warning,
    Wrong,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Wrong => "wrong",
        }
    }
}

/// A check's outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was looked at, in a word or two.
    pub check: &'static str,
    pub verdict: Verdict,
    pub says: String,
    /// What to do; never with `Ok`.
    pub fix: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, says: impl Into<String>) -> Finding {
        Finding { check, verdict: Verdict::Ok, says: says.into(), fix: None }
    }

    pub(super) fn warning(
        check: &'static str,
        says: impl Into<String>,
        fix: impl Into<String>,
    ) -> Finding {
        Finding { check, verdict: Verdict::Warning, says: says.into(), fix: Some(fix.into()) }
    }

    pub(super) fn wrong(
        check: &'static str,
        says: impl Into<String>,
        fix: impl Into<String>,
    ) -> Finding {
        Finding { check, verdict: Verdict::Wrong, says: says.into(), fix: Some(fix.into()) }
    }
}

/// All of them.
#[derive(Debug, Serialize)]
pub(crate) struct Findings {
    ok: bool,
    checks: Vec<Finding>,
}

impl Findings {
    pub(super) fn new(checks: Vec<Finding>) -> Findings {
        Findings { ok: checks.iter().all(|finding| finding.verdict != Verdict::Wrong), checks }
    }

    /// Nothing is wrong; there may be warnings.
    pub(crate) fn all_well(&self) -> bool {
        self.ok
    }
}

impl Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { check, verdict, says, fix } in &self.checks {
            writeln!(f, "{:<8} {check:<14} {says}", verdict.word())?;
            if let Some(fix) = fix {
                writeln!(f, "{:<23} -> {fix}", "")?;
            }
        }
        let count = |wanted| self.checks.iter().filter(|finding| finding.verdict == wanted).count();
        let (wrong, warnings) = (count(Verdict::Wrong), count(Verdict::Warning));
        match (wrong, warnings) {
            (0, 0) => writeln!(f, "\nAll is well."),
            (0, _) => writeln!(f, "\nNothing is wrong; warnings: {warnings}."),
            _ => writeln!(f, "\nWrong: {wrong}; warnings: {warnings}."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_is_told_in_the_end() {
        let ok = || Finding::ok("clock", "synchronised");
        let warning = || Finding::warning("disk", "nearly full", "make space");
        let wrong = || Finding::wrong("port 5000", "nobody listens", "start it");
        let said = |findings| Findings::new(findings).to_string();
        assert!(said(vec![ok()]).ends_with("\nAll is well.\n"));
        assert!(said(vec![ok(), warning()]).ends_with("\nNothing is wrong; warnings: 1.\n"));
        let all = Findings::new(vec![ok(), warning(), wrong()]);
        assert!(!all.all_well() && Findings::new(vec![ok(), warning()]).all_well());
        assert_eq!(
            all.to_string(),
            "ok       clock          synchronised\n\
             warning  disk           nearly full\n                        -> make space\n\
             wrong    port 5000      nobody listens\n                        -> start it\n\
             \nWrong: 1; warnings: 1.\n"
        );
        let json = serde_json::to_value(&all).unwrap();
        assert_eq!((&json["ok"], &json["checks"][2]["verdict"]), (&false.into(), &"wrong".into()));
    }
}
