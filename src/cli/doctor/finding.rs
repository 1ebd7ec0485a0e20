//! What was found out: one line a check, and what to do about it.

use std::fmt::Write as _;

use serde::Serialize;

use super::live_call::LiveCall;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Ok,
    /// It could not be looked at; the message says why.
    NotChecked,
    /// Calls work, and something will be missed one day.
    Warning,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A stable word: `signature`, `data` …
    pub check: &'static str,
    pub verdict: Verdict,
    pub message: String,
    /// What to do; always there when something is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
}

/// All findings, in the order in which they were made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    pub ok: bool,
    pub checks: Vec<Finding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live_call: Option<LiveCall>,
}

impl Finding {
    pub fn ok(check: &'static str, message: impl Into<String>) -> Finding {
        Finding { check, verdict: Verdict::Ok, message: message.into(), cure: None }
    }

    pub fn not_checked(check: &'static str, why: impl Into<String>) -> Finding {
        Finding { check, verdict: Verdict::NotChecked, message: why.into(), cure: None }
    }

    pub fn warning(check: &'static str, message: impl Into<String>, cure: impl Into<String>) -> Finding {
        let cure = Some(cure.into());
        Finding { check, verdict: Verdict::Warning, message: message.into(), cure }
    }

    pub fn failed(check: &'static str, message: impl Into<String>, cure: impl Into<String>) -> Finding {
        let cure = Some(cure.into());
        Finding { check, verdict: Verdict::Failed, message: message.into(), cure }
    }

    /// `failed       signature     what is wrong. Cure: what to do`
    fn line(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::NotChecked => "not checked",
            Verdict::Warning => "warning",
            Verdict::Failed => "failed",
        };
        let mut line = format!("{verdict:<12} {:<14} {}", self.check, one_line(&self.message));
        if let Some(cure) = &self.cure {
            let _ = write!(line, ". Cure: {}", one_line(cure));
        }
        line
    }
}

impl Report {
    pub fn of(checks: Vec<Finding>) -> Report {
        let ok = checks.iter().all(|finding| finding.verdict != Verdict::Failed);
        Report { ok, checks, live_call: None }
    }

    pub fn text(&self) -> String {
        self.checks.iter().map(|finding| finding.line() + "\n").collect()
    }

    /// For people, below the lines.
    pub fn summary(&self) -> String {
        let count = |verdict| self.checks.iter().filter(|finding| finding.verdict == verdict).count();
        format!(
            "{} ok, {} failed, {} to look at, {} not checked",
            count(Verdict::Ok),
            count(Verdict::Failed),
            count(Verdict::Warning),
            count(Verdict::NotChecked)
        )
    }
}

/// What others said may have lines of its own.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_and_a_warning_is_no_failure() {
        let checks = vec![
            Finding::ok("data", "fine"),
            Finding::warning("clock", "12 s\nahead", "set it"),
            Finding::not_checked("numbers", "no credentials"),
        ];
        let mut report = Report::of(checks);
        assert!(report.ok);
        let text = report.text();
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains("warning      clock          12 s ahead. Cure: set it\n"), "{text}");
        assert_eq!(report.summary(), "1 ok, 0 failed, 1 to look at, 1 not checked");
        report.checks.push(Finding::failed("tls", "expired", "renew"));
        assert!(!Report::of(report.checks).ok);
    }
}
