//! `holdline check`: every error of workflows and configuration files, with its position.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::arguments::CheckArguments;
use super::{Exit, print};
use crate::config::{Config, Origin, Problem, Sources};

/// What a check found. Warnings alone are fine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub ok: bool,
    pub errors: Vec<Finding>,
    pub warnings: Vec<Finding>,
}

/// One thing to say about one place of a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    pub file: String,
    /// From 1; 0 when it is about the file as a whole.
    pub line: usize,
    pub column: usize,
    /// In the document's own words: `tasks[0].parameters.target_id`, `calls.max_calls`.
    pub path: String,
    pub code: String,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
}

pub(super) fn run(arguments: &CheckArguments) -> Exit {
    let report = check_files(&arguments.files);
    if arguments.json {
        let json = serde_json::to_string_pretty(&report).unwrap_or_default();
        print(&format!("{json}\n"));
    } else {
        print(&report.to_text());
    }
    if report.ok { Exit::Fine } else { Exit::NotSo }
}

/// Everything there is to say about these files.
pub fn check_files(paths: &[PathBuf]) -> Report {
    let mut errors = Vec::new();
    for path in paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => errors.extend(check_config(path)),
            _ => errors.push(Finding::about_file(
                path,
                "unknown_kind",
                "expected a configuration file (.toml)".to_owned(),
            )),
        }
    }
    Report { ok: errors.is_empty(), errors, warnings: Vec::new() }
}

/// What would keep the server from starting with this file, in this environment.
fn check_config(path: &Path) -> Vec<Finding> {
    let sources = Sources { file: Some(path.to_owned()), ..Sources::from_process() };
    match Config::load(&sources) {
        Ok(_) => Vec::new(),
        Err(error) => error.problems.into_iter().map(Finding::from).collect(),
    }
}

impl Report {
    /// `file:line:column: error: path: message`, as editors read it.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (kind, findings) in [("error", &self.errors), ("warning", &self.warnings)] {
            for finding in findings {
                text.push_str(&finding.to_line(kind));
                text.push('\n');
            }
        }
        text
    }
}

impl Finding {
    pub fn about_file(file: &Path, code: &str, message: String) -> Finding {
        Finding {
            file: file.display().to_string(),
            line: 0,
            column: 0,
            path: String::new(),
            code: code.to_owned(),
            message,
            suggestion: None,
        }
    }

    fn to_line(&self, kind: &str) -> String {
        let Finding { file, line, column, path, message, .. } = self;
        let place = if *line > 0 { format!("{file}:{line}:{column}") } else { file.clone() };
        let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
        let suggestion = match &self.suggestion {
            Some(suggestion) => format!("; did you mean \"{suggestion}\"?"),
            None => String::new(),
        };
        format!("{place}: {kind}: {path}{message}{suggestion}")
    }
}

impl From<Problem> for Finding {
    fn from(problem: Problem) -> Finding {
        let (file, line, column) = match problem.origin {
            Origin::File { file, line, column } => (file, line, column),
            other => (other.to_string(), 0, 0),
        };
        Finding {
            file,
            line,
            column,
            path: problem.path,
            code: problem.code.to_owned(),
            message: problem.message,
            suggestion: problem.suggestion,
        }
    }
}
