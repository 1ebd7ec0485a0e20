//! `holdline test`: performs call transcripts against workflows, in virtual time.

use std::path::{Path, PathBuf};

use holdline_harness::{Options, Outcome, Report, perform_file};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::arguments::TestArguments;
use super::{Exit, complain, print};

/// Folders below each other that are searched for transcripts.
const DEPTH_MAX: usize = 16;

pub(super) fn run(arguments: &TestArguments) -> Exit {
    let update = std::env::var_os("UPDATE").is_some();
    if update && std::env::var_os("CI").is_some() {
        complain(&"UPDATE rewrites what the transcripts foretell, which is refused where CI is set");
        return Exit::Usage;
    }
    let files = if arguments.files.is_empty() { all_below(Path::new(".")) } else { arguments.files.clone() };
    if files.is_empty() {
        complain(&"there is no .call file here; name one, or write one (docs/testing.md shows how)");
        return Exit::NotSo;
    }
    let options = Options { update, ..Options::default() };
    let reports: Vec<Report> = files.iter().map(|file| perform_file(file, options)).collect();
    for report in &reports {
        print(&line(report));
    }
    let failed = reports.iter().filter(|report| !report.is_ok()).count();
    print(&format!("{} passed, {failed} failed\n", reports.len() - failed));
    if let Some(junit) = &arguments.junit
        && let Err(error) = std::fs::write(junit, to_junit(&reports))
    {
        complain(&format!("{}: {error}", junit.display()));
        return Exit::NotSo;
    }
    if failed == 0 { Exit::Fine } else { Exit::NotSo }
}

fn line(report: &Report) -> String {
    let file = report.file.display();
    let lasted = report.lasted.as_secs_f64();
    match &report.outcome {
        Outcome::AsTold => format!("ok      {file} ({lasted:.1} s of a call)\n"),
        Outcome::Rewritten => format!("written {file}\n"),
        Outcome::Different(diff) => format!("FAILED  {file}: it went differently\n{diff}\n"),
        Outcome::Broken(why) => format!("FAILED  {file}: {why}\n"),
    }
}

/// Every transcript below a folder, in the order of their names; hidden folders and build output are left out.
fn all_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(folder, 0, &mut found);
    found.sort();
    found
}

fn collect(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let is_ours = !name.to_string_lossy().starts_with('.') && name != "target";
        // A link to a folder could lead round in a circle.
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && is_ours && depth < DEPTH_MAX {
            collect(&path, depth + 1, found);
        } else if path.extension().is_some_and(|ending| ending == "call") {
            found.push(path);
        }
    }
}

fn to_junit(reports: &[Report]) -> Vec<u8> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    let failed = reports.iter().filter(|report| !report.is_ok()).count();
    let written =
        writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None))).and_then(|()| {
            writer
                .create_element("testsuite")
                .with_attribute(("name", "holdline test"))
                .with_attribute(("tests", reports.len().to_string().as_str()))
                .with_attribute(("failures", failed.to_string().as_str()))
                .write_inner_content(|writer| reports.iter().try_for_each(|report| test_case(writer, report)))
                .map(|_| ())
        });
    // Writing to memory does not fail.
    debug_assert!(written.is_ok());
    writer.into_inner()
}

fn test_case(writer: &mut Writer<Vec<u8>>, report: &Report) -> std::io::Result<()> {
    let name = report.file.display().to_string();
    let case = writer.create_element("testcase").with_attribute(("name", name.as_str()));
    let why = match &report.outcome {
        Outcome::AsTold | Outcome::Rewritten => return case.write_empty().map(|_| ()),
        Outcome::Different(diff) => diff,
        Outcome::Broken(why) => why,
    };
    let why: String = why.chars().map(|c| if c.is_control() && c != '\n' { '\u{FFFD}' } else { c }).collect();
    case.write_inner_content(|writer| {
        writer.create_element("failure").write_text_content(BytesText::new(&why)).map(|_| ())
    })
    .map(|_| ())
}
