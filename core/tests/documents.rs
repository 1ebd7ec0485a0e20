//! Documents as people write and other systems export them, good ones and bad ones. Beside a document lies what is
//! said about it: `name.expect` has a line `line:column code` for each error and `warning line:column code` for each
//! warning. `UPDATE=1 cargo test --test documents` writes those files anew, for a reader to judge the difference.

#![allow(clippy::disallowed_methods)] // documents lie in files

use holdline_core::flow::action;
use holdline_core::flow::check::check_all;
use holdline_core::flow::diagnostic::{Diagnostic, Report};
use holdline_core::flow::parse::{Language, Parsed, Spans, parse, parse_list};
use holdline_core::flow::script::{Dialect, OnError};
use holdline_core::limit::Limits;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The table that good and bad documents are read with.
fn with_language<T>(then: impl FnOnce(&Language<'_>) -> T) -> T {
    let (actions, limits) = (action::declared(), Limits::default());
    then(&Language::new(&actions, action::LATER, &limits))
}

fn stem(file: &str) -> &str {
    Path::new(file).file_stem().unwrap().to_str().unwrap()
}

fn read(file: &str, text: &str) -> Parsed {
    with_language(|language| parse(language, file, stem(file), text))
}

struct Document {
    path: PathBuf,
    parsed: Parsed,
}

/// Every document of a folder, in the order of names.
fn folder(name: &str) -> Vec<Document> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/flows").join(name);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension != "expect"));
    paths.sort();
    let open = |path: PathBuf| {
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        let parsed = read(&file, &fs::read_to_string(&path).unwrap());
        Document { path, parsed }
    };
    paths.into_iter().map(open).collect()
}

fn spans(documents: &[Document]) -> Vec<&Spans> {
    documents.iter().map(|document| &document.parsed.spans).collect()
}

/// Compares what was said with what lies beside the document; the difference, if there is one.
fn judge(document: &Document, report: &Report) -> Option<String> {
    let line = |d: &Diagnostic| format!("{}:{} {}", d.line, d.column, d.code);
    let errors = report.errors.iter().map(line);
    let warnings = report.warnings.iter().map(|d| format!("warning {}", line(d)));
    let said: String = errors.chain(warnings).map(|line| line + "\n").collect();
    let beside = document.path.with_extension(match document.path.extension() {
        Some(extension) if extension == "json" => "json.expect",
        _ => "expect",
    });
    if std::env::var_os("UPDATE").is_some() {
        if said.is_empty() {
            let _ = fs::remove_file(&beside);
        } else {
            fs::write(&beside, &said).unwrap();
        }
    }
    let expected = fs::read_to_string(&beside).unwrap_or_default();
    (said != expected)
        .then(|| format!("{}\nexpected:\n{expected}\ngot:\n{said}\n{report}", document.path.display()))
}

fn judge_all(documents: &[Document], in_force: &[&Spans], are_together: bool) -> Vec<Report> {
    let mut reports = Vec::new();
    let mut wrong = Vec::new();
    let everyone = spans(documents);
    for document in documents {
        let mut report = document.parsed.report.clone();
        let all = if are_together {
            check_all(&everyone, in_force)
        } else {
            check_all(&[&document.parsed.spans], in_force)
        };
        let file = &document.parsed.spans.file;
        report.errors.extend(all.errors.into_iter().filter(|d| d.file == *file));
        report.warnings.extend(all.warnings.into_iter().filter(|d| d.file == *file));
        report.sort();
        wrong.extend(judge(document, &report));
        reports.push(report);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    reports
}

#[test]
fn good_documents_load_as_they_stand() {
    let documents = folder("good");
    assert!(documents.len() >= 22);
    for (document, report) in documents.iter().zip(judge_all(&documents, &[], true)) {
        assert!(report.is_ok() && document.parsed.script.is_some(), "{}", document.path.display());
    }
}

#[test]
fn bad_documents_are_told_everything_that_is_wrong() {
    let good = folder("good");
    let documents = folder("bad");
    assert!(documents.len() >= 40);
    for (document, report) in documents.iter().zip(judge_all(&documents, &spans(&good), false)) {
        assert!(!report.is_ok(), "{}", document.path.display());
    }
}

#[test]
fn what_is_written_is_what_runs() {
    let all: BTreeMap<String, Parsed> =
        folder("good").into_iter().map(|d| (d.parsed.spans.file.clone(), d.parsed)).collect();

    let ivr = all["ivr.json"].script.as_ref().unwrap();
    assert_eq!(
        (ivr.id.0.as_str(), ivr.label.as_deref(), ivr.dialect),
        ("ivr", Some("ivr"), Dialect::Actions)
    );
    assert_eq!(ivr.actions[3].parameters["target_ids"]["1"], "605f…");
    assert_eq!(uuid_version(&ivr.actions[0].id), 8);

    let menu = all["menu.yaml"].script.as_ref().unwrap();
    assert_eq!((menu.limits.iterations, menu.limits.steps, menu.limits.stack_depth), (50, 1000, 100));
    assert_eq!(menu.extra["x-owner"]["team"], "telephony");
    assert_eq!(menu.actions[1].extra["x-note"], "spoken by the network");
    let receive = &menu.actions[2].parameters;
    assert_eq!((&receive["duration"], &receive["inter_digit"]), (&5000.into(), &2500.into()));
    assert_eq!(menu.actions[6].on_error, Some(OnError::Goto("support".into())));
    assert_eq!(menu.actions[6].parameters["timeout"], 20_000);
    let queue = menu.actions.iter().find(|action| action.kind == "queue_join").unwrap();
    assert!(!queue.parameters.contains_key("wait_flow"));
    assert_eq!(queue.lists["wait_flow"].len(), 3);

    let exported = all["exported_actions.json"].script.as_ref().unwrap();
    assert_eq!(exported.id.0, "2a1b6f3e-4f64-4b07-9d2c-0f3a1c8f3b11");
    assert_eq!(exported.on_complete, None);
    let kinds: Vec<&str> = exported.actions.iter().map(|action| action.kind.as_str()).collect();
    assert_eq!(kinds, ["answer", "connect", "conference_join", "queue_join", "echo", "goto", "branch"]);
    assert_eq!(exported.actions[2].parameters["conference"], "7d6d2a0e-9a4b-4a54-8b9a-5a4d3e0a0002");
    assert_eq!(exported.actions[2].next, None);
    assert_eq!(exported.actions[6].parameters["target_ids"], serde_json::json!({}));
    assert!(!exported.actions[1].parameters.contains_key("anonymous"));

    let components = all["exported_components.json"].script.as_ref().unwrap();
    assert_eq!(
        (components.triggers[0].kind.as_str(), components.dialect),
        ("twilio/inboundCall", Dialect::Components)
    );
    let task = &components.actions[0];
    assert_eq!((task.kind.as_str(), task.timeout_ms), ("variable_set", Some(30_000)));
    assert_eq!(task.retry.as_ref().unwrap().attempts, 4);

    let incoming = all["incoming.yaml"].script.as_ref().unwrap();
    assert_eq!(incoming.triggers[0].parameters["maxDuration"], 7_200_000);
    let retry = incoming.actions[1].retry.as_ref().unwrap();
    assert_eq!((retry.attempts, retry.initial_ms, retry.max_ms, retry.jitter), (5, 30_000, 60_000, 0.1));

    let nested = folder("good").into_iter().find(|d| d.parsed.spans.file == "nested.yaml").unwrap();
    let looped = &nested.parsed.script.unwrap().actions[0];
    let branch = &looped.lists["iteratee"][0];
    let lists: Vec<&str> = branch.lists.keys().map(String::as_str).collect();
    assert_eq!(lists, ["cases[0].tasks", "default"]);
    assert_eq!(branch.parameters["cases"], serde_json::json!([{ "key": 1 }, { "key": 2, "value": "two" }]));
}

fn uuid_version(id: &str) -> u32 {
    id.chars().nth(14).and_then(|version| version.to_digit(16)).unwrap()
}

#[test]
fn yaml_and_json_of_one_document_are_one_script() {
    for document in folder("good") {
        if document.path.extension().is_some_and(|extension| extension == "json") {
            continue;
        }
        let text = fs::read_to_string(&document.path).unwrap();
        let tree = holdline_core::flow::source::read("a.yaml", &text).unwrap().to_json();
        let stem = document.path.file_stem().unwrap().to_str().unwrap();
        let json = read(&format!("{stem}.json"), &serde_json::to_string_pretty(&tree).unwrap());
        assert!(document.parsed.script.is_some());
        assert_eq!(json.script, document.parsed.script, "{}", document.path.display());
    }
}

#[test]
fn both_dialects_are_one_script_but_for_their_words() {
    let components = read(
        "a.yaml",
        "label: L\ndescription: D\non_complete: b\n\
         tasks: [{ type: goto/v1, parameters: { target_id: x }, next: x }, { id: x, type: empty }]",
    );
    let actions = read(
        "a.yaml",
        "name: L\ndetail: D\non_complete_flow_id: b\n\
         actions: [{ type: goto, option: { target_id: x }, next_id: x }, { id: x, type: empty }]",
    );
    let mut components = components.script.unwrap();
    assert_eq!(components.dialect, Dialect::Components);
    components.dialect = Dialect::Actions;
    assert_eq!(Some(components), actions.script);
}

#[test]
fn a_report_reads_as_promised() {
    let parsed = read(
        "flows/a.yaml",
        "tasks:\n  - type: goto\n    parameters: { target_id: tlak }\n  - { type: talk, name: talk, parameters: { text: x, async: true } }\n",
    );
    let text = parsed.report.to_string();
    assert_eq!(
        text.lines().next().unwrap(),
        "flows/a.yaml:3:30: error: tasks[0].parameters.target_id: no action has the id or name \"tlak\"; \
         did you mean \"talk\"?"
    );
    assert!(
        text.lines().nth(1).unwrap().starts_with("flows/a.yaml:4:61: warning: tasks[1].parameters.async: ")
    );
    let json = parsed.report.to_json();
    assert_eq!(json["ok"], false);
    let error = json["errors"][0].as_object().unwrap();
    let keys: Vec<&str> = error.keys().map(String::as_str).collect();
    assert_eq!(keys, ["file", "line", "column", "path", "code", "message", "suggestion"]);
    assert_eq!(
        (error["code"].as_str(), error["suggestion"].as_str()),
        (Some("unknown_target"), Some("talk"))
    );
    assert!(json["warnings"][0].get("suggestion").is_none());
}

#[test]
fn workflows_are_looked_for_among_all_documents() {
    let a = read("a.yaml", "on_complete: b\ntasks: []");
    let b = read("b.yaml", "on_complete: c\ntasks: []");
    let c = read("c.yaml", "on_complete: b\ntasks: [{ type: fetch_flow, parameters: { flow_id: d } }]");
    let twin = read("twin.yaml", "id: a\ntasks: []");
    let broken = read("d.yaml", "tasks: [");
    let said = |report: Report| {
        let all = report.errors.iter().chain(&report.warnings);
        all.map(|d| format!("{}:{}:{} {}", d.file, d.line, d.column, d.code)).collect::<Vec<_>>()
    };
    let together = check_all(&[&a.spans, &b.spans, &c.spans, &twin.spans, &broken.spans], &[]);
    assert_eq!(
        said(together),
        [
            "twin.yaml:1:5 duplicate_workflow",
            "b.yaml:1:14 on_complete_cycle",
            "c.yaml:1:14 on_complete_cycle"
        ]
    );
    // A chain that runs into a cycle is not a part of it; what is in force is not judged again.
    assert_eq!(said(check_all(&[&a.spans], &[&b.spans, &c.spans, &twin.spans])), Vec::<String>::new());
    assert_eq!(
        said(check_all(&[&c.spans], &[&b.spans])),
        ["c.yaml:2:52 unknown_workflow", "c.yaml:1:14 on_complete_cycle"]
    );
}

#[test]
fn a_queue_skips_what_the_network_cannot_do_by_itself() {
    let queue =
        read("queue.yaml", "tasks: [{ type: queue_join, parameters: { queue: q, wait_flow: hold } }]");
    let warnings = |hold: &str| {
        let hold = read("hold.yaml", hold);
        let report = check_all(&[&queue.spans], &[&hold.spans]);
        report.warnings.iter().map(|d| format!("{}:{}:{}", d.file, d.line, d.code)).collect::<Vec<_>>()
    };
    assert_eq!(
        warnings("tasks: [{ type: talk, parameters: { text: wait } }, { type: empty }]"),
        Vec::<String>::new()
    );
    assert_eq!(warnings("tasks: [{ type: digits_receive }]"), ["queue.yaml:1:needs_stream"]);
    assert_eq!(
        warnings("tasks: [{ type: play, parameters: { file: a.wav } }]"),
        ["queue.yaml:1:needs_stream"]
    );
}

#[test]
fn zones_are_known_without_the_machine() {
    let zone = |name: &str| {
        let text = format!("tasks: [{{ type: condition_datetime, parameters: {{ timezone: {name} }} }}]");
        read("a.yaml", &text).report.errors.first().map(|d| d.code.to_string())
    };
    assert_eq!(zone("Europe/Berlin"), None);
    assert_eq!(zone("\"${zone}\""), None);
    assert_eq!(zone("Europe/Brelin").as_deref(), Some("unknown_timezone"));
}

#[test]
fn pushed_lists_see_their_ancestors_and_get_ids_of_their_own() {
    let ancestors = BTreeSet::from(["menu".to_owned()]);
    let push = |seed: &str, text: &str| {
        with_language(|language| parse_list(language, "answer", seed, text, &ancestors))
    };
    let text = r#"[{"type":"talk","option":{"text":"hi"}},{"type":"goto","option":{"target_id":"menu"}}]"#;
    let (first, report) = push("step-1", text);
    let first = first.unwrap();
    assert_eq!(report, Report::default());
    assert_eq!(push("step-1", text).0.as_ref(), Some(&first));
    assert_ne!(push("step-2", text).0.unwrap()[0].id, first[0].id);
    let (none, report) = push("s", r#"[{"type":"goto","option":{"target_id":"mneu"}},{"type":"tlak"}]"#);
    assert_eq!(none, None);
    let paths: Vec<&str> = report.errors.iter().map(|d| d.path.as_str()).collect();
    assert_eq!(paths, ["[0].option.target_id", "[1].type"]);
}

/// Text that looks enough like a document to come far.
fn document_text() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "tasks",
        "actions",
        "type",
        "talk",
        "text",
        "option",
        "parameters",
        "goto",
        "target_id",
        "id",
        "name",
        "a",
        "branch",
        "target_ids",
        "queue_join",
        "wait_flow",
        "triggers",
        "twilio/inboundCall",
        "on_error",
        "retry",
        "limits",
        "outputs",
        "value",
        "when",
        "<speak",
        "<speak>",
        "</speak>",
        "${",
        "}",
        "${a}",
        "$${",
        "=",
        "secret.",
        "${secret.x}",
        ": ",
        "- ",
        "\n",
        "\n  ",
        "\n    ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "\"",
        "'",
        "&x ",
        "*x",
        "!!str ",
        "---\n",
        "#",
        "1",
        "-1",
        "1e9",
        "10s",
        "null",
        "true",
        "|\n",
        ">",
        "? ",
        "\t",
        "\\u12",
        "\\",
        "é",
        "\u{0}",
        "loop",
        "iteratee",
        "play",
        "file",
        "../",
        "x-",
        "~",
        "<<",
        "%YAML",
        "\r\n",
        "\u{2028}",
        "\u{feff}",
    ]);
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

/// A well-formed document out of the language's own words, put together without sense.
fn nonsense() -> impl Strategy<Value = serde_json::Value> {
    let words = vec![
        "",
        "a",
        "talk",
        "goto",
        "branch",
        "loop",
        "queue_join",
        "on-error",
        "play",
        "connect",
        "hangup",
        "${a.b}",
        "=1",
        "${",
        "10s",
        "continue",
        "fail",
        "<speak>&</speak>",
        "00000000-0000-0000-0000-000000000000",
        "menu",
    ];
    let keys = vec![
        "type",
        "id",
        "name",
        "parameters",
        "option",
        "tasks",
        "actions",
        "triggers",
        "next",
        "when",
        "retry",
        "timeout",
        "on_error",
        "goto",
        "target_id",
        "target_ids",
        "iteratee",
        "items",
        "wait_flow",
        "queue",
        "text",
        "cases",
        "key",
        "default",
        "destinations",
        "outputs",
        "value",
        "limits",
        "inputs",
        "main-branch",
        "duration",
        "loop_count",
        "x-a",
    ];
    let leaf = prop_oneof![
        prop::sample::select(words).prop_map(serde_json::Value::from),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<f64>().prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
    ];
    leaf.prop_recursive(6, 80, 8, move |inner| {
        let key = prop::sample::select(keys.clone());
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            prop::collection::vec((key, inner), 0..8).prop_map(|pairs| {
                serde_json::Value::Object(pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in document_text(), noise in ".{0,80}", dress in 0u8..3) {
        for text in [text, noise] {
            holdline_core::flow::fuzz::fuzz_document(&[&[dress], text.as_bytes()].concat());
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        holdline_core::flow::fuzz::fuzz_document(&bytes);
    }

    #[test]
    fn no_nonsense_makes_it_panic(tree in nonsense(), wrap in any::<bool>()) {
        let tree = if wrap { serde_json::json!({ "tasks": [tree] }) } else { tree };
        let text = tree.to_string();
        for dress in 0..3u8 {
            holdline_core::flow::fuzz::fuzz_document(&[&[dress], text.as_bytes()].concat());
        }
        // What JSON says, YAML says with the same words.
        let json = read("a.json", &text);
        let yaml = read("a.yaml", &format!(" {text}"));
        prop_assert_eq!(json.script, yaml.script);
    }

    #[test]
    fn the_json_reader_reads_what_serde_json_reads(tree in nonsense(), text in document_text()) {
        for text in [tree.to_string(), serde_json::to_string_pretty(&tree).unwrap(), text] {
            let ours = holdline_core::flow::source::read("a.json", &text).map(|node| node.to_json()).ok();
            // Editors of some systems begin a file with this mark; serde_json doesn't know it.
            let plain = text.strip_prefix('\u{feff}').unwrap_or(&text);
            prop_assert_eq!(ours, serde_json::from_str(plain).ok());
        }
    }
}
