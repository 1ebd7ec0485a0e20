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
    assert!(out.parse::<toml::Table>().is_ok(), "{out}");
}

#[test]
fn a_configuration_that_is_not_valid_can_not_start_anything() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, err) = holdline(folder.path(), &["config", "--config", "none.toml"], &[]);
    assert_eq!((code, out.as_str()), (3, ""));
    assert!(err.starts_with("none.toml: error: can't read it"), "{err}");
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
