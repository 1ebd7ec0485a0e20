//! `holdline check`: every error of workflows and configuration files, with its position.

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use holdline_core::flow::diagnostic::Diagnostic;
use serde::Serialize;

use super::arguments::CheckArguments;
use super::excerpt::Excerpts;
use super::{Exit, complain, print};
use crate::config::{Config, Origin, Problem, Sources};
use crate::flows;

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
    let report = check(&arguments.files, &arguments.place.sources());
    if arguments.json {
        let json = serde_json::to_string_pretty(&report).unwrap_or_default();
        print(&format!("{json}\n"));
    } else if std::io::stdout().is_terminal() {
        // Pipes get bare lines, as editors read them; people see the place itself.
        print(&report.to_text_with(&mut Excerpts::default()));
        complain(&report.summary());
    } else {
        print(&report.to_text());
    }
    if report.ok { Exit::Fine } else { Exit::NotSo }
}

/// Everything there is to say about these files; without any, about the configuration and the workflows of its folder.
pub fn check(files: &[PathBuf], sources: &Sources) -> Report {
    let mut findings = Findings::default();
    let (configurations, others): (Vec<&PathBuf>, Vec<&PathBuf>) =
        files.iter().partition(|file| is_toml(file));
    // One that is checked along with workflows also says where the others are and what the limits are.
    let in_force = match (&sources.file, configurations.first()) {
        (None, Some(first)) => Sources { file: Some(first.to_path_buf()), ..sources.clone() },
        _ => sources.clone(),
    };
    let config = findings.configuration(&in_force);
    for file in configurations.into_iter().filter(|file| Some(*file) != in_force.file.as_ref()) {
        findings.configuration(&Sources { file: Some(file.clone()), ..sources.clone() });
    }
    let mut documents = Vec::new();
    for file in others {
        findings.collect(file, &mut documents);
    }
    if files.is_empty() {
        findings.collect(&config.flows.dir, &mut documents);
    }
    let report = flows::check_documents(&documents, &config);
    findings.left_out = report.left_out;
    findings.errors.extend(report.errors.into_iter().map(Finding::from));
    findings.warnings.extend(report.warnings.into_iter().map(Finding::from));
    findings.into_report()
}

#[derive(Default)]
struct Findings {
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
    left_out: usize,
}

impl Findings {
    /// The configuration, or the defaults after saying what would keep the server from starting with it.
    fn configuration(&mut self, sources: &Sources) -> Config {
        Config::load(sources).unwrap_or_else(|error| {
            self.errors.extend(error.problems.into_iter().map(Finding::from));
            Config::default()
        })
    }

    /// A workflow file, or all of a folder.
    fn collect(&mut self, path: &Path, documents: &mut Vec<PathBuf>) {
        let found = match path.is_dir() {
            true => flows::workflow_files(path),
            false => fs::metadata(path).map(|_| vec![path.to_owned()]),
        };
        let (code, message) = match found {
            Ok(files) if files.iter().all(|file| flows::is_workflow_file(file)) => {
                documents.extend(files);
                return;
            }
            Ok(_) => ("unknown_kind", "expected a workflow (.yaml, .yml, .json) or a .toml".to_owned()),
            Err(error) => ("unreadable", format!("cannot be read: {error}")),
        };
        self.errors.push(Finding::about_file(path, code, message));
    }

    fn into_report(mut self) -> Report {
        if self.left_out > 0 {
            let message = format!("{} more problems are not shown", self.left_out);
            self.warnings.push(Finding::about_file(Path::new("…"), "left_out", message));
        }
        Report { ok: self.errors.is_empty(), errors: self.errors, warnings: self.warnings }
    }
}

fn is_toml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"))
}

impl Report {
    /// `file:line:column: error: path: message`, as editors read it.
    pub fn to_text(&self) -> String {
        self.lines().map(|(_, line)| line + "\n").collect()
    }

    /// The same lines, each with the lines of the file that it is about.
    pub(super) fn to_text_with(&self, excerpts: &mut Excerpts) -> String {
        let with = |(finding, line): (&Finding, String)| {
            let excerpt = excerpts.around(Path::new(&finding.file), finding.line, finding.column);
            format!("{line}\n{}\n", excerpt.unwrap_or_default())
        };
        self.lines().map(with).collect()
    }

    fn lines(&self) -> impl Iterator<Item = (&Finding, String)> {
        let errors = self.errors.iter().map(|finding| (finding, finding.to_line("error")));
        errors.chain(self.warnings.iter().map(|finding| (finding, finding.to_line("warning"))))
    }

    fn summary(&self) -> String {
        let count = |count: usize, what: &str| match count {
            0 => format!("no {what}s"),
            1 => format!("1 {what}"),
            _ => format!("{count} {what}s"),
        };
        format!("{}, {}", count(self.errors.len(), "error"), count(self.warnings.len(), "warning"))
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
        // Those of workflows say it in their message already.
        let suggestion = match &self.suggestion {
            Some(suggestion) if !message.contains("did you mean") => {
                format!("; did you mean \"{suggestion}\"?")
            }
            _ => String::new(),
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

impl From<Diagnostic> for Finding {
    fn from(diagnostic: Diagnostic) -> Finding {
        Finding {
            code: diagnostic.code.to_string(),
            file: diagnostic.file,
            line: diagnostic.line as usize,
            column: diagnostic.column as usize,
            path: diagnostic.path,
            message: diagnostic.message,
            suggestion: diagnostic.suggestion,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "tasks:\n  - type: talk\n    parameters: { text: hello }\n";

    fn codes(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|finding| finding.code.as_str()).collect()
    }

    #[test]
    fn workflows_and_configuration_are_checked_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("flows")).unwrap();
        fs::write(path("flows/stands.yaml"), GOOD).unwrap();
        fs::write(path("new.yaml"), format!("on_complete_flow_id: stands\n{GOOD}")).unwrap();
        fs::write(path("bad.yaml"), "tasks:\n  - type: tlak\n").unwrap();
        fs::write(path("holdline.toml"), "[flows]\ndir = \"flows\"\n").unwrap();
        fs::write(path("x.txt"), GOOD).unwrap();
        fs::write(path("bad.toml"), "[flows]\ndri = \"flows\"\n").unwrap();

        let none = Sources::default();
        let report = check(&[path("new.yaml"), path("holdline.toml")], &none);
        assert!(report.ok, "{report:?}");
        let alone = check(&[path("new.yaml")], &none);
        assert_eq!(codes(&alone.errors), ["unknown_workflow"], "its folder is not the configured one");

        let report = check(&[path("bad.yaml"), path("bad.toml"), path("x.txt"), path("no.yaml")], &none);
        assert_eq!(
            codes(&report.errors),
            ["unknown_key", "unknown_kind", "unreadable", "unknown_type"],
            "{report:?}"
        );
        let text = report.to_text();
        let line = format!("{}:2:11: error: tasks[0].type: ", path("bad.yaml").display());
        assert!(text.contains(&line) && text.matches("did you mean \"talk\"?").count() == 1, "{text}");

        let shown = report.to_text_with(&mut Excerpts::default());
        let place = "\n   1 | tasks:\n   2 |   - type: tlak\n     |           ^^^^\n";
        assert!(shown.contains(place), "{shown}");
        assert_eq!(report.summary(), "4 errors, no warnings");

        let configured = Sources { file: Some(path("holdline.toml")), ..Sources::default() };
        assert!(check(&[], &configured).ok);
        fs::write(path("flows/broken.json"), "{").unwrap();
        assert_eq!(codes(&check(&[], &configured).errors), ["syntax"]);
        fs::remove_dir_all(path("flows")).unwrap();
        assert_eq!(codes(&check(&[], &configured).errors), ["unreadable"]);
    }
}
