//! What the documents name is there: settings, commands and their options, files, metrics. A reader copies these as they
//! are printed, and a word that was renamed since then is the first thing that a newcomer sees fail.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn every_setting_is_in_the_configuration_file() {
    let known = settings(&read(&root().join("config.toml")));
    let mut seen = 0;
    for (page, text) in pages() {
        let codes = codes(&text);
        let written = codes.iter().filter_map(|code| bracketed(code));
        for setting in written.chain(codes.iter().flat_map(|code| variables(code))) {
            seen += 1;
            let open = setting.starts_with("secrets."); // names are the operator's own there
            assert!(open || known.contains(&setting), "{page}: config.toml has no setting {setting}");
        }
    }
    assert!(seen > 20, "only {seen} settings were found in the documents: are they still read?");
}

#[test]
fn every_command_has_what_it_is_given() {
    let mut seen = 0;
    for (page, text) in pages() {
        for command in codes(&text).iter().filter_map(|code| Told::read(code)) {
            seen += 1;
            if let Err(missing) = command.is_possible() {
                panic!("{page}: {command:?}: {missing}");
            }
        }
    }
    assert!(seen > 30, "only {seen} commands were found in the documents: are they still read?");
}

#[test]
fn every_file_is_there() {
    let mut seen = 0;
    for (page, text) in pages() {
        for code in codes(&text) {
            for path in code.split_whitespace().filter(|word| is_ours(word)) {
                seen += 1;
                // What a page lets its reader write isn't there before.
                let written = text.contains(&format!("Save this as `{path}`"));
                let path = path.split('*').next().unwrap_or(path);
                assert!(written || root().join(path).exists(), "{page}: there is no {path}");
            }
        }
    }
    assert!(seen > 20, "only {seen} files were found in the documents: are they still read?");
}

/// The operators' page is held against the running server by `tests/ops.rs`, so it may speak for the others.
#[test]
fn every_metric_is_on_the_operators_page() {
    let page = read(&root().join("docs/operations.md"));
    for (name, text) in pages() {
        for code in codes(&text) {
            let words = code.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
            for metric in words.filter(|word| word.starts_with("holdline_") && !is_room(word)) {
                assert!(page.contains(&format!("\n| `{metric}` |")), "{name}: nothing exposes {metric}");
            }
        }
    }
}

#[test]
fn what_is_not_there_is_found() {
    let known = settings("[calls]\n# Why.\nmax_calls = 1\n[log]\nlevel = \"info\"\n");
    assert_eq!(known.iter().collect::<Vec<_>>(), ["calls", "calls.max_calls", "log", "log.level"]);
    assert_eq!(bracketed("[calls] max_callers = 2").as_deref(), Some("calls.max_callers"));
    assert_eq!(bracketed("[calls]").as_deref(), Some("calls"));
    assert_eq!(bracketed("[1, 2]"), None);
    assert_eq!(variables("HOLDLINE__LOG__LEVEL=x HOLDLINE__SECTION__KEY cargo run"), ["log.level"]);
    let page = "Run `holdline demo`:\n```sh\ncd x   # no code of ours\nholdline call # see\n```\n```json\n`no`\n```\n";
    assert_eq!(codes(page), ["holdline demo", "cd x", "holdline call"]);
    for wrong in [
        "holdline dial hello",
        "cargo run --release -- call hello --pres 1@5s",
        "HOLDLINE__LOG__LEVEL=debug holdline serve --fast",
        "cargo test --test nothing",
        "cargo bench --bench nothing",
        "cargo run -p holdline-harness --example nothing -- --show 1",
        "cargo run -p holdline-nothing --example simulate",
    ] {
        assert!(Told::read(wrong).unwrap().is_possible().is_err(), "{wrong} passes");
    }
    assert!(Told::read("holdline_calls").is_none());
    assert!(is_ours("src/nothing.rs") && !is_ours("application/json"));
}

/// A command of ours as a page tells it.
#[derive(Debug)]
enum Told {
    Cargo(Vec<String>),
    Holdline(Vec<String>),
}

impl Told {
    fn read(code: &str) -> Option<Told> {
        let is_variable =
            |word: &&str| word.starts_with(|letter: char| letter.is_ascii_uppercase()) && word.contains('=');
        let mut words = code.split_whitespace().skip_while(is_variable);
        match words.next()? {
            "cargo" => Some(Told::Cargo(words.map(str::to_owned).collect())),
            "holdline" => Some(Told::Holdline(words.map(str::to_owned).collect())),
            _ => None,
        }
    }

    fn is_possible(&self) -> Result<(), String> {
        match self {
            Told::Cargo(words) => cargo_has(words),
            Told::Holdline(words) => holdline_takes(words),
        }
    }
}

/// Are the targets there that cargo is asked for? What stands behind `--` is for our own binary, if it is that which runs.
fn cargo_has(words: &[String]) -> Result<(), String> {
    let at = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let (own, others) = words.split_at(at);
    let room = match value(own, "-p") {
        None | Some("holdline") => root().to_owned(),
        Some(package) => root().join(package.strip_prefix("holdline-").unwrap_or(package)),
    };
    if !room.join("Cargo.toml").exists() {
        return Err(format!("there is no package in {}", room.display()));
    }
    for (option, folder) in [("--test", "tests"), ("--bench", "benches"), ("--example", "examples")] {
        let Some(name) = value(own, option) else { continue };
        let places =
            [room.join(folder).join(format!("{name}.rs")), room.join(folder).join(name).join("main.rs")];
        if !places.iter().any(|place| place.exists()) {
            return Err(format!("{option} {name} is not in {}", room.join(folder).display()));
        }
    }
    let ours = own.first().is_some_and(|word| word == "run") && value(own, "--example").is_none();
    if ours { holdline_takes(others.get(1..).unwrap_or(&[])) } else { Ok(()) }
}

/// Does the binary know the command, and every option, by its own help?
fn holdline_takes(words: &[String]) -> Result<(), String> {
    let command = words.first().filter(|word| !word.starts_with('-'));
    let told = Command::new(env!("CARGO_BIN_EXE_holdline")).args(command).arg("--help").output().unwrap();
    let help = String::from_utf8_lossy(&told.stdout);
    if !told.status.success() {
        return Err(String::from_utf8_lossy(&told.stderr).into_owned());
    }
    let known: BTreeSet<&str> = help
        .split(|letter: char| letter.is_whitespace() || matches!(letter, ',' | '[' | ']' | '='))
        .collect();
    match words.iter().find(|word| word.starts_with("--") && !known.contains(word.as_str())) {
        Some(unknown) => Err(format!("its help does not know {unknown}")),
        None => Ok(()),
    }
}

fn value<'a>(words: &'a [String], option: &str) -> Option<&'a str> {
    let at = words.iter().position(|word| word == option)?;
    words.get(at + 1).map(String::as_str)
}

/// All code of a page: what stands between backticks, and the lines of its shell blocks without their remarks.
fn codes(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fence: Option<String> = None;
    for line in page.lines() {
        match (line.trim_start().strip_prefix("```"), &fence) {
            (Some(language), None) => fence = Some(language.trim().to_owned()),
            (Some(_), Some(_)) => fence = None,
            (None, Some(language)) if language == "sh" => {
                found.push(line.split(" #").next().unwrap_or(line).trim().to_owned());
            }
            (None, Some(_)) => {}
            (None, None) => found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned)),
        }
    }
    found.retain(|code| !code.is_empty());
    found
}

/// The sections and settings of a configuration file, as `section` and `section.key`.
fn settings(file: &str) -> BTreeSet<String> {
    let file: toml::Table = file.parse().unwrap();
    let mut found = BTreeSet::new();
    for (name, value) in &file {
        found.insert(name.clone());
        found.extend(
            value.as_table().into_iter().flat_map(|keys| keys.keys().map(|key| format!("{name}.{key}"))),
        );
    }
    found
}

/// The setting that `[section] key` or `[section] key = value` names.
fn bracketed(code: &str) -> Option<String> {
    let (section, rest) = code.strip_prefix('[')?.split_once(']')?;
    let is_name = |word: &str| {
        word.starts_with(|letter: char| letter.is_ascii_lowercase())
            && word.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_')
    };
    let key = rest.split(['=', ' ']).find(|word| !word.is_empty());
    match key {
        _ if !is_name(section) => None,
        None => Some(section.to_owned()),
        Some(key) => is_name(key).then(|| format!("{section}.{key}")),
    }
}

/// The settings of all `HOLDLINE__SECTION__KEY` in a line; that word itself stands for any.
fn variables(code: &str) -> Vec<String> {
    let words = code.split(|letter: char| !letter.is_ascii_uppercase() && letter != '_');
    words
        .filter_map(|word| word.strip_prefix("HOLDLINE__"))
        .filter(|word| *word != "SECTION__KEY")
        .map(|word| word.to_lowercase().replace("__", "."))
        .collect()
}

/// Is it a path from the top of this repository, as far as its first part tells?
fn is_ours(word: &str) -> bool {
    let folders = [
        "src", "core", "actors", "harness", "tests", "benches", "docs", "examples", "ops", "flows", "fuzz",
        ".ci",
    ];
    word.split_once('/').is_some_and(|(first, _)| folders.contains(&first))
        && word.chars().all(|letter| letter.is_ascii_alphanumeric() || "/._-*".contains(letter))
}

fn is_room(word: &str) -> bool {
    ["holdline_core", "holdline_actors", "holdline_harness"].contains(&word)
}

/// The pages that tell what is so now, by name. The changes and the decisions tell what was so at their time.
fn pages() -> Vec<(String, String)> {
    let of = |folder: &str| fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = ["", "docs", "ops"].into_iter().flat_map(of).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "md") && !file.ends_with("CHANGELOG.md"));
    files.sort();
    files.iter().map(|file| (file.strip_prefix(root()).unwrap().display().to_string(), read(file))).collect()
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
