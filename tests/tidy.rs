//! The house's doors and promises, which no compiler checks.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use holdline::config::{Config, DEFAULTS, Sources};

/// What the core may depend on: what only computes. No input, output, clock or dice.
const CORE_MAY_USE: &[(&str, &str)] = &[
    ("base64", "tokens, signatures, payloads without their padding"),
    ("base64-simd", "payloads of stream messages: fifty a second and call, each way"),
    ("cel", "the grammar of expressions; evaluated by our own counted steps"),
    ("hmac", "signatures of the network and stream tokens"),
    ("jiff", "conditions on dates, with a bundled zone database; its clock is banned by clippy"),
    ("memchr", "the ends of long strings in stream messages"),
    ("quick-xml", "escaping and reading the network's documents"),
    ("regex", "patterns in expressions and conditions, in time linear in the text"),
    ("rubato", "resampling of sound files"),
    ("saphyr-parser", "YAML with positions"),
    ("serde", "facts and documents as data"),
    ("serde_json", "JSON values of variables and facts"),
    ("sha1", "the network's signature is HMAC-SHA1"),
    ("sha2", "derived ids, body digests"),
    ("strsim", "the nearest known word in an error"),
    ("thiserror", "error enums"),
    ("uuid", "ids of activeflows; making them from clock and dice is banned by clippy"),
];

/// Beyond this a file is two files.
const LINES_MAX: usize = 900;

#[test]
fn the_core_depends_only_on_what_computes() {
    let allowed: BTreeSet<&str> = CORE_MAY_USE.iter().map(|(name, _)| *name).collect();
    for name in dependencies("core") {
        assert!(
            allowed.contains(name.as_str()),
            "core depends on {name}: give a reason in CORE_MAY_USE, or do without"
        );
    }
}

#[test]
fn dependencies_go_one_way() {
    let forbidden = [
        ("core", &["holdline-actors", "holdline-harness", "holdline", "actix", "tokio"][..]),
        ("actors", &["holdline-harness", "holdline", "sled", "reqwest"][..]),
        ("harness", &["holdline"][..]),
    ];
    for (room, others) in forbidden {
        let used = dependencies(room);
        for other in others {
            assert!(!used.contains(*other), "{room} must not depend on {other}");
        }
    }
}

#[test]
fn no_file_is_longer_than_can_be_read() {
    for room in ["src", "core/src", "actors/src", "harness/src"] {
        for file in files(&root().join(room)) {
            let lines = text(&file).map_or(0, |text| text.lines().count());
            assert!(lines <= LINES_MAX, "{} has {lines} lines, more than {LINES_MAX}", file.display());
        }
    }
}

#[test]
fn every_action_has_a_story() {
    let stories: Vec<String> =
        files(&root().join("tests/calls")).iter().filter_map(|file| text(file)).collect();
    // Before the first story there is nothing to hold anyone to.
    if stories.is_empty() {
        return;
    }
    for file in files(&root().join("core/src/flow/action")) {
        for name in text(&file).iter().flat_map(|text| declared(text)) {
            let told = stories.iter().any(|story| mentions(story, &name));
            assert!(told, "no file in tests/calls mentions the action {name} ({})", file.display());
        }
    }
}

#[test]
fn the_names_of_actions_are_found_in_their_declarations() {
    let file = "const DECLARED: Declared = Declared {\n    name: \"http/request\",\n    parameters: &[Parameter { name: \"url\" }],\n};";
    assert_eq!(declared(file), ["http/request"]);
    assert!(mentions("type: http/request\n", "http/request") && mentions("- http/v1/request", "request"));
    assert!(!mentions("type: talkative\n", "talk"));
}

#[test]
fn the_configuration_file_is_the_defaults() {
    assert_eq!(Config::load(&Sources::default()).unwrap(), Config::default());
    let mut comment = false;
    for (index, line) in DEFAULTS.lines().enumerate() {
        let is_setting = line.contains(" = ") && !line.starts_with('#');
        assert!(!is_setting || comment, "config.toml:{}: {line} has no comment above it", index + 1);
        comment = line.starts_with('#');
    }
}

#[test]
fn no_test_sleeps() {
    // In pieces, or this file would be found itself.
    let sleeps = [["sleep", "("], ["sleep_", "until("], ["sleep_", "ms("], ["park_", "timeout("]];
    let sleeps = sleeps.map(|pieces| pieces.concat());
    for room in ["tests", "benches", "core/tests", "harness/tests", "actors/tests"] {
        let sources = files(&root().join(room)).into_iter();
        for file in sources.filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
            for (index, line) in text(&file).iter().flat_map(|text| text.lines()).enumerate() {
                let found = sleeps.iter().any(|sleep| line.contains(sleep));
                assert!(
                    !found,
                    "{}:{}: a test waits for what it waits for, not for a time: {line}",
                    file.display(),
                    index + 1
                );
            }
        }
    }
}

#[test]
fn no_path_of_a_machine_is_in_the_repository() {
    // In pieces, or this file would be found itself.
    let private =
        [["/ro", "ot/"], ["/ho", "me/"], ["/Us", "ers/"], ["/wo", "rk/"], ["/tmp", "/wt"], ["C:\\", "Users"]]
            .map(|pieces| pieces.concat());
    for file in files(root()) {
        let Some(text) = text(&file) else { continue };
        for (index, line) in text.lines().enumerate() {
            let named = private.iter().any(|path| names_machine(line, path));
            assert!(!named, "{}:{}: a path of some machine: {line}", file.display(), index + 1);
        }
    }
}

#[test]
fn every_link_in_the_docs_leads_somewhere() {
    let documents = files(root()).into_iter().filter(|file| is_markdown(file));
    for file in documents {
        for link in links(&text(&file).unwrap()) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { file.clone() } else { file.parent().unwrap().join(path) };
            assert!(target.exists(), "{}: the link to {link} leads nowhere", file.display());
            if !anchor.is_empty() && is_markdown(&target) {
                let known = headings(&text(&target).unwrap());
                assert!(known.contains(anchor), "{}: {link}: no such heading", file.display());
            }
        }
    }
}

#[test]
fn the_story_in_the_docs_goes_as_it_is_told() {
    let document = text(&root().join("docs/testing.md")).unwrap();
    let told = document.split("```text\n").nth(1).and_then(|after| after.split("```").next()).unwrap();
    assert!(told.contains("caller presses 2"), "the first block of docs/testing.md is its story");
    holdline_harness::Story::new(told).must_go_as_told();
}

#[test]
fn links_and_headings_are_read_as_they_are_shown() {
    let document = "# Two words: here\n[a](b.md#c) and ![i](i.png \"title\")\n```\n[no](code)\n# no heading\n```\n`[no](inline)`";
    assert_eq!(links(document), ["b.md#c", "i.png"]);
    assert_eq!(headings(document).into_iter().collect::<Vec<_>>(), ["two-words-here"]);
}

#[test]
fn every_dependency_may_be_shipped() {
    let rules: toml::Table = text(&root().join("deny.toml")).unwrap().parse().unwrap();
    let allowed: BTreeSet<&str> =
        rules["licenses"]["allow"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let known = metadata();
    let packages = known["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "only {} packages were looked at", packages.len());
    for package in packages {
        let (name, licence) = (package["name"].as_str().unwrap(), package["license"].as_str().unwrap_or(""));
        assert!(
            may_be_shipped(licence, &allowed),
            "{name} is under {licence:?}: read that licence and allow it in deny.toml, or do without {name}"
        );
    }
}

#[test]
fn every_dependency_comes_from_the_registry() {
    let locked: toml::Table = text(&root().join("Cargo.lock")).unwrap().parse().unwrap();
    let ours = ["holdline", "holdline-core", "holdline-actors", "holdline-harness"];
    for package in locked["package"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        if ours.contains(&name) {
            assert!(
                package.get("source").is_none(),
                "{name} is a room of this house, not a package from elsewhere"
            );
            continue;
        }
        let source = package.get("source").and_then(toml::Value::as_str);
        assert_eq!(
            source,
            Some("registry+https://github.com/rust-lang/crates.io-index"),
            "where {name} comes from"
        );
        assert!(package.get("checksum").is_some(), "{name} has no checksum in Cargo.lock");
    }
}

#[test]
fn licences_are_read_as_they_are_meant() {
    let allowed = BTreeSet::from(["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"]);
    for good in [
        "MIT",
        "MIT/GPL-3.0",
        "GPL-3.0 OR MIT",
        "(MIT OR GPL-3.0) AND Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(may_be_shipped(good, &allowed), "{good} lets a binary be shipped");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "MIT AND (GPL-3.0 OR LGPL-3.0)", "MIT WITH LLVM-exception"]
    {
        assert!(!may_be_shipped(bad, &allowed), "{bad:?} does not");
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All dependencies of a room, those of its tests left out.
fn dependencies(room: &str) -> BTreeSet<String> {
    let manifest: toml::Table = text(&root().join(room).join("Cargo.toml")).unwrap().parse().unwrap();
    let tables =
        ["dependencies", "build-dependencies"].into_iter().filter_map(|key| manifest.get(key)?.as_table());
    tables.flat_map(|table| table.keys().cloned()).collect()
}

/// What cargo knows of every package: of all platforms where their sources are here, else of this machine's.
fn metadata() -> serde_json::Value {
    let ask = |arguments: &[&str]| {
        let common = ["metadata", "--locked", "--offline", "--format-version", "1"];
        let mut cargo = Command::new(env!("CARGO"));
        let answer =
            cargo.args(common).args(arguments).current_dir(root()).output().expect("cargo can be run");
        answer.status.success().then_some(answer.stdout).ok_or(answer.stderr)
    };
    let answer = ask(&[]).or_else(|_| {
        let version = Command::new(env!("CARGO")).arg("-vV").output().expect("cargo can be run").stdout;
        let version = String::from_utf8(version).unwrap();
        let host =
            version.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo names its host");
        ask(&["--filter-platform", host])
    });
    let answer = answer.unwrap_or_else(|error| panic!("cargo metadata: {}", String::from_utf8_lossy(&error)));
    serde_json::from_slice(&answer).unwrap()
}

/// Does an SPDX expression leave a choice of allowed licences? The old `MIT/Apache-2.0` is an `OR`.
fn may_be_shipped(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words: Vec<&str> = spaced.split_whitespace().rev().collect();
    let allows = any_of(&mut words, allowed);
    // What can't be read to its end allows nothing.
    allows && words.is_empty()
}

fn any_of(words: &mut Vec<&str>, allowed: &BTreeSet<&str>) -> bool {
    let mut allows = all_of(words, allowed);
    while words.pop_if(|word| *word == "OR").is_some() {
        allows |= all_of(words, allowed);
    }
    allows
}

fn all_of(words: &mut Vec<&str>, allowed: &BTreeSet<&str>) -> bool {
    let mut allows = one(words, allowed);
    while words.pop_if(|word| *word == "AND").is_some() {
        allows &= one(words, allowed);
    }
    allows
}

fn one(words: &mut Vec<&str>, allowed: &BTreeSet<&str>) -> bool {
    match words.pop() {
        Some("(") => {
            let allows = any_of(words, allowed);
            words.pop() == Some(")") && allows
        }
        Some(name) if words.pop_if(|word| *word == "WITH").is_some() => {
            let exception = words.pop().unwrap_or_default();
            allowed.contains(format!("{name} WITH {exception}").as_str())
        }
        name => name.is_some_and(|name| allowed.contains(name)),
    }
}

/// The files below a folder, without what is built or fetched; none if there is no such folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        // `.git` may be a file here: that of a worktree names a folder of its machine.
        if ["target", ".git", "node_modules", ".work", "data"].iter().any(|skipped| name == *skipped) {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&path)),
            Ok(kind) if kind.is_file() => found.push(path),
            _ => {}
        }
    }
    found.sort();
    found
}

/// The file's text; none if it is sound, a picture or a journal.
fn text(file: &Path) -> Option<String> {
    String::from_utf8(fs::read(file).ok()?).ok()
}

fn is_markdown(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "md")
}

/// A path that begins with `private`; the same words further inside a path or URL are nobody's machine.
fn names_machine(line: &str, private: &str) -> bool {
    line.match_indices(private).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|letter| letter.is_alphanumeric() || matches!(letter, '.' | '}' | '_'))
    })
}

/// The names in `Declared { name: "…" }`.
fn declared(source: &str) -> Vec<String> {
    let after = source.split("Declared {").skip(1);
    after
        .filter_map(|after| after.trim_start().strip_prefix("name: \"")?.split('"').next())
        .map(str::to_owned)
        .collect()
}

/// Is the name there as a whole word?
fn mentions(story: &str, name: &str) -> bool {
    let joins = |letter: char| letter.is_alphanumeric() || letter == '_';
    story.match_indices(name).any(|(at, _)| {
        let before = story.get(..at).and_then(|before| before.chars().next_back());
        let after = story.get(at + name.len()..).and_then(|after| after.chars().next());
        !before.is_some_and(joins) && !after.is_some_and(joins)
    })
}

/// The lines of a document outside code.
fn prose(document: &str) -> Vec<String> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push(line.split('`').step_by(2).collect::<Vec<_>>().join("`"));
        }
    }
    lines
}

fn links(document: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(document) {
        for after in line.split("](").skip(1) {
            let target = after.split([')', ' ']).next().unwrap_or("");
            found.push(target.trim_matches(['<', '>']).to_owned());
        }
    }
    found
}

/// Anchors as they are made from headings: lower case, spaces to dashes, punctuation dropped.
fn headings(document: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut found = BTreeSet::new();
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if let (false, Some(heading)) = (fenced, line.strip_prefix('#')) {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading
                .chars()
                .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
            found.insert(kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect());
        }
    }
    found
}
