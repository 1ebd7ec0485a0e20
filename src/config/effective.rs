//! The effective configuration, printed for people: every setting, secrets masked, and who changed what.

use super::tree::{self, Node, Origin, Table, Value, join};

/// What stands in place of a secret.
const MASK: &str = "***";

/// Keys whose texts are never shown. `[]` is any item of a list.
const SECRET_KEYS: [&str; 12] = [
    "public.shared_keys[]",
    "control.tokens[].token",
    "twilio.auth_tokens[]",
    "twilio.api_key",
    "twilio.api_secret",
    "speech.key",
    "events.webhooks[].secret",
    "events.secret",
    "openai.api_key",
    "salesforce.client_secret",
    "salesforce.token",
    "smtp.url",
];

pub(super) fn print(table: &Table) -> String {
    let mut out = String::new();
    // TOML reads what stands below a section's head as its own, so plain keys come first.
    for entry in table.entries.iter().filter(|entry| !matches!(entry.node.value, Value::Table(_))) {
        line(&mut out, &entry.key, &entry.node, &entry.key);
    }
    for entry in &table.entries {
        if let Value::Table(section) = &entry.node.value {
            out.push_str(&format!("\n[{}]\n", entry.key));
            for inner in &section.entries {
                line(&mut out, &inner.key, &inner.node, &join(&entry.key, &inner.key));
            }
        }
    }
    out
}

fn line(out: &mut String, key: &str, node: &Node, path: &str) {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    let key = if !key.is_empty() && key.chars().all(plain) {
        key.to_owned()
    } else {
        toml::Value::from(key).to_string()
    };
    out.push_str(&format!("{key} = {}", shown(node, path)));
    if node.origin != Origin::Default {
        out.push_str(&format!("  # {}", node.origin));
    }
    out.push('\n');
}

fn shown(node: &Node, path: &str) -> toml::Value {
    match &node.value {
        Value::Text(text) => toml::Value::from(masked(text, path)),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) if is_secret(path) => toml::Value::from(MASK),
        Value::Integer(number) => toml::Value::from(*number),
        Value::Float(number) => toml::Value::from(*number),
        Value::Boolean(value) => toml::Value::from(*value),
        Value::List(items) => {
            toml::Value::Array(items.iter().map(|item| shown(item, &format!("{path}[]"))).collect())
        }
        Value::Table(table) => toml::Value::Table(
            table
                .entries
                .iter()
                .map(|entry| (entry.key.clone(), shown(&entry.node, &join(path, &entry.key))))
                .collect(),
        ),
        // Neither gets past reading, so neither is ever printed.
        Value::Foreign(name) => toml::Value::from(*name),
        Value::Broken => toml::Value::from(""),
    }
}

/// An empty secret is shown as empty: that it is missing is what people look for here.
fn masked(text: &str, path: &str) -> String {
    if !text.is_empty() && is_secret(path) { MASK.to_owned() } else { without_password(text) }
}

fn is_secret(path: &str) -> bool {
    SECRET_KEYS.contains(&path)
        || path.strip_prefix(tree::FREE_SECTION).is_some_and(|rest| rest.starts_with('.'))
}

/// `scheme://user:password@host` may be written wherever a URL may.
fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest.get(..authority_end).and_then(|authority| authority.rfind('@')) {
        Some(at) => format!("{scheme}://{MASK}{}", rest.get(at..).unwrap_or("")),
        None => text.to_owned(),
    }
}
