//! The binary as a shell sees it: exit codes, and what goes to which stream.

use std::path::Path;
use std::process::{Command, Output};

fn holdline(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_holdline"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn config_prints_what_is_in_force_and_where_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("my.toml"), "[calls]\nmax_calls = 7\n[openai]\napi_key = \"k-1\"\n")
        .unwrap();
    let environment = [("HOLDLINE__CALLS__MAX_CALLS", "9")];
    let arguments = ["config", "--config", "my.toml", "--data", "d"];
    let (code, out, err) = holdline(folder.path(), &arguments, &environment);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("max_calls = 9  # HOLDLINE__CALLS__MAX_CALLS\n"), "{out}");
    assert!(out.contains("api_key = \"***\"  # my.toml:4:11\n"), "{out}");
    assert!(out.contains("/d\"  # --data\n"), "{out}");
    let settings: toml::Table = out.parse().unwrap();
    let (code, json, _) = holdline(folder.path(), &[&arguments[..], &["--json"]].concat(), &environment);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (code, &json["calls"]["max_calls"], &json["openai"]["api_key"]),
        (0, &9.into(), &"***".into())
    );
    assert_eq!(json, serde_json::to_value(settings).unwrap());
}

/// The contract of the settings: each of these names exists, whoever reads it.
#[test]
fn every_setting_that_was_promised_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (_, out, _) = holdline(folder.path(), &["config", "--json"], &[]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let promised = [
        (
            "public",
            "bind url trusted_proxies insecure_no_signatures bare_streams shared_keys return_fragment rate_limit",
        ),
        ("control", "bind tokens"),
        ("twilio", "account_sid auth_tokens api_key api_secret api_url"),
        ("flows", "dir reload timezone"),
        ("journal", "kind path retention"),
        (
            "calls",
            "max_calls max_duration idle_timeout return_grace start_deadline drain_timeout overflow_workflow \
             rest_interval",
        ),
        ("media", "queue_frames stall_timeout idle_silence lead file_bytes_max cache_bytes workers"),
        ("speech", "voice command url key model"),
        ("limits", "iterations execute_calls on_complete_depth stack_depth steps subflow_depth"),
        ("retry", "attempts initial factor max"),
        ("http", "timeout allow_hosts deny_private"),
        ("events", "webhooks secret retry"),
        ("openai", "base_url api_key"),
        ("salesforce", "instance_url login_url client_id client_secret token"),
        ("smtp", "url from"),
        ("log", "format level numbers"),
    ];
    assert_eq!(json["default_workflow"], "hello");
    assert!(json["secrets"].is_object());
    for (section, keys) in promised {
        for key in keys.split_whitespace() {
            assert!(json[section].get(key).is_some(), "[{section}] {key}");
        }
    }
}

#[test]
fn a_configuration_that_is_not_valid_can_not_start_anything() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, err) = holdline(folder.path(), &["config", "--config", "none.toml"], &[]);
    assert_eq!((code, out.as_str()), (3, ""));
    assert!(
        err.starts_with("none.toml: error: expected a readable configuration file, but No such file")
            && err.contains("--config"),
        "{err}"
    );
    let (code, out, err) = holdline(folder.path(), &["config"], &[("HOLDLINE__CALLS__MAX_CALS", "9")]);
    assert_eq!((code, out.as_str()), (3, ""));
    assert!(err.contains("did you mean \"HOLDLINE__CALLS__MAX_CALLS\"?"), "{err}");
}

#[test]
fn check_tells_every_error_on_stdout_and_exits_1() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("good.toml"), "[calls]\nmax_calls = 7\n").unwrap();
    std::fs::write(folder.path().join("bad.toml"), "[calls]\nmax_cals = 7\nidle_timeout = \"x\"\n").unwrap();
    assert_eq!(holdline(folder.path(), &["check", "good.toml"], &[]), (0, String::new(), String::new()));
    let (code, out, err) = holdline(folder.path(), &["check", "good.toml", "bad.toml", "none.toml"], &[]);
    assert_eq!((code, err.as_str()), (1, ""));
    let places: Vec<&str> = out.lines().map(|line| line.split(": error: ").next().unwrap()).collect();
    assert_eq!(places, ["bad.toml:2:1", "bad.toml:3:16", "none.toml"], "{out}");
    let (code, out, _) = holdline(folder.path(), &["check", "--json", "bad.toml"], &[]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["ok"], &report["warnings"]), (1, &false.into(), &serde_json::json!([])));
    let first = &report["errors"][0];
    assert_eq!((first["line"].as_u64(), first["code"].as_str()), (Some(2), Some("unknown_key")));
    assert_eq!(
        (first["path"].as_str(), first["suggestion"].as_str()),
        (Some("calls.max_cals"), Some("max_calls"))
    );
}

#[test]
fn every_sample_checks_without_a_word_and_has_a_story() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert_eq!(holdline(root, &["check", "flows"], &[]), (0, String::new(), String::new()));
    let stories: String = std::fs::read_dir(root.join("tests/calls"))
        .unwrap()
        .map(|story| std::fs::read_to_string(story.unwrap().path()).unwrap_or_default())
        .collect();
    for sample in std::fs::read_dir(root.join("flows")).unwrap() {
        let name = sample.unwrap().file_name().into_string().unwrap();
        // The tour is what the demo calls and measures.
        if name.ends_with(".yaml") && !name.starts_with("tour") {
            assert!(stories.contains(&format!("flow ../../flows/{name}\n")), "{name} has no story");
        }
    }
}

#[test]
fn schema_prints_what_the_repository_publishes() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, err) = holdline(folder.path(), &["schema"], &[]);
    assert_eq!((code, err.as_str()), (0, ""));
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema/workflow.schema.json");
    assert_eq!(out, std::fs::read_to_string(published).unwrap());
}

#[test]
fn a_wrong_use_exits_2() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, err) = holdline(folder.path(), &["chekc"], &[]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("check"), "{err}");
}

#[test]
fn every_command_says_by_its_exit_code_what_came_of_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("flows")).unwrap();
    std::fs::write(folder.path().join("flows/hello.yaml"), "tasks: [{ type: hangup }]\n").unwrap();
    std::fs::write(folder.path().join("bad.yaml"), "tasks: [{ type: tlak }]\n").unwrap();
    std::fs::write(folder.path().join("bad.call"), "this is no story\n").unwrap();
    let port_0 = [("HOLDLINE__PUBLIC__BIND", "127.0.0.1:0"), ("HOLDLINE__CONTROL__BIND", "127.0.0.1:0")];
    let table: &[(&[&str], i32)] = &[
        (&["--help"], 0),
        (&["--version"], 0),
        (&["schema"], 0),
        (&["config"], 0),
        (&["check"], 0),
        (&["check", "bad.yaml"], 1),
        (&["check", "none.yaml"], 1),
        (&["test", "bad.call"], 1),
        (&["doctor"], 0),
        (&["doctor", "--config", "none.toml"], 1),
        (&["doctor", "--to", "+14155550100"], 2),
        (&["completions", "bash"], 0),
        (&["completions", "zsh"], 0),
        (&["completions", "fish"], 0),
        (&["completions", "dos"], 2),
        (&["completions"], 2),
        (&["setup"], 2),
        (&["setup", "somebody"], 2),
        (&["setup", "+14155550100"], 3),
        (&["call"], 2),
        (&["call", "hello", "--server", "nowhere"], 2),
        (&["call", "hello", "--server", "http://127.0.0.1:1"], 3),
        (&["serve", "--config", "none.toml"], 3),
        (&["serve", "--data", "/proc/holdline"], 3),
        (&["--config", "none.toml"], 3),
        (&["serv"], 2),
    ];
    for (arguments, expected) in table {
        let (code, out, err) = holdline(folder.path(), arguments, &port_0);
        assert_eq!(code, *expected, "{arguments:?}: {out} {err}");
        match expected {
            0 => assert!(!out.is_empty() || arguments[0] == "check", "{arguments:?} has a result"),
            // What is found is a result; why nothing was done is for whoever reads the screen.
            1 => assert!(!out.is_empty() || !err.is_empty(), "{arguments:?}"),
            _ => assert!(out.is_empty() && !err.is_empty(), "{arguments:?}: {out}"),
        }
    }
}
