//! What the repository publishes about the language is what the code says. `UPDATE=1 cargo test --test published` writes
//! it anew.

#![allow(clippy::disallowed_methods, reason = "a test may read and write the repository")]

use holdline_core::flow::schema;
use std::fs;
use std::path::Path;

#[test]
fn the_schema_is_the_declarations() {
    let mut text = serde_json::to_string_pretty(&schema::schema()).unwrap();
    text.push('\n');
    compare("docs/schema/workflow.schema.json", &text);
}

#[test]
fn the_table_of_actions_is_the_declarations() {
    compare("docs/actions.md", &schema::table());
}

fn compare(file: &str, said: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    if std::env::var_os("UPDATE").is_some() {
        assert!(std::env::var_os("CI").is_none(), "{file} is written by people, not by CI");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, said).unwrap();
    }
    let published = fs::read_to_string(&path).unwrap_or_default();
    assert!(published == said, "{file} is not what the declarations say; UPDATE=1 writes it anew");
}
