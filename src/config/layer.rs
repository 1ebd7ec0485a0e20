//! Laying the layers on each other: defaults, file, environment, flags; then filling in `${env:…}` and `${file:…}`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Sources;
use super::tree::{self, Entry, Node, Origin, Problem, Table, Value, join, nearest};

/// All layers as one table.
pub(super) struct Merged {
    pub table: Table,
    /// Where relative paths start.
    pub folder: PathBuf,
    pub problems: Vec<Problem>,
}

pub(super) fn defaults() -> (Table, Vec<Problem>) {
    tree::parse(super::DEFAULTS, "config.toml", true)
}

pub(super) fn merge(sources: &Sources) -> Merged {
    let (mut table, mut problems) = defaults();
    let folder = sources.file.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).to_owned();
    if let Some(file) = &sources.file {
        let shown = file.display().to_string();
        match read_bounded(file, FILE_BYTES_MAX) {
            Ok(text) => {
                let (over, syntax) = tree::parse(&text, &shown, false);
                // What a broken file seems to say is guesswork; only what is broken is worth telling.
                let readable = syntax.is_empty();
                problems.extend(syntax);
                if readable {
                    table.overlay(over, "", &mut problems);
                }
            }
            Err(error) => problems.push(Problem {
                origin: Origin::File { file: shown, line: 0, column: 0 },
                path: String::new(),
                code: "unreadable",
                message: format!(
                    "expected a readable configuration file, but {error}. Correct --config, or leave it out: without \
                     a file the defaults hold"
                ),
                suggestion: None,
            }),
        }
    }
    for (name, raw) in &sources.environment {
        if let Some(over) = environment(name, raw, &table, &mut problems) {
            table.overlay(over, "", &mut problems);
        }
    }
    for flag in &sources.flags {
        let origin = Origin::Flag(flag.name.to_owned());
        // A path typed on the command line starts where it was typed, as the shell completed it.
        let value = std::path::absolute(&flag.value)
            .map_or_else(|_| flag.value.clone(), |path| path.display().to_string());
        let node = Node { value: Value::Text(value), origin: origin.clone(), raw: None };
        table.overlay(in_section(flag.section, flag.key, node, &origin), "", &mut problems);
    }
    let mut filler = Filler { environment: &sources.environment, folder: &folder, problems: &mut problems };
    filler.table(&mut table, "");
    Merged { table, folder, problems }
}

/// `HOLDLINE__SECTION__KEY` as a table of one value.
fn environment(name: &str, raw: &str, known: &Table, problems: &mut Vec<Problem>) -> Option<Table> {
    let path = name.strip_prefix(PREFIX)?;
    let node = tree::from_environment(name, raw);
    let origin = Origin::Environment(name.to_owned());
    let (section, key) = match path.split_once("__") {
        Some((section, key)) => (section.to_lowercase(), key),
        None => (String::new(), path),
    };
    let key = if section == tree::FREE_SECTION { secret_name(key, known) } else { key.to_lowercase() };
    let exists = match known.get(&section).map(|node| &node.value) {
        Some(Value::Table(table)) => section == tree::FREE_SECTION || table.get(&key).is_some(),
        _ => section.is_empty() && known.get(&key).is_some(),
    };
    if exists {
        return Some(if section.is_empty() {
            Table { entries: vec![Entry { key, key_origin: origin, node }] }
        } else {
            in_section(&section, &key, node, &origin)
        });
    }
    let names = variables(known);
    problems.push(Problem {
        origin,
        path: String::new(),
        code: "unknown_key",
        message: format!("no setting has this name (a setting's is {PREFIX}SECTION__KEY)"),
        suggestion: nearest(&name.to_lowercase(), names.iter().map(String::as_str)).map(str::to_uppercase),
    });
    None
}

/// Secrets are named by people in either case; a variable means the one that the file has, whatever its case.
fn secret_name(name: &str, known: &Table) -> String {
    let Some(Value::Table(table)) = known.get(tree::FREE_SECTION).map(|node| &node.value) else {
        return name.to_owned();
    };
    table.keys().find(|key| key.eq_ignore_ascii_case(name)).unwrap_or(name).to_owned()
}

/// The names of all variables, in lower case.
fn variables(known: &Table) -> Vec<String> {
    let prefix = PREFIX.to_lowercase();
    let of_entry = |entry: &Entry| match &entry.node.value {
        Value::Table(table) => table.keys().map(|key| format!("{prefix}{}__{key}", entry.key)).collect(),
        _ => vec![format!("{prefix}{}", entry.key)],
    };
    known.entries.iter().flat_map(of_entry).collect()
}

fn in_section(section: &str, key: &str, node: Node, origin: &Origin) -> Table {
    let inner = Table { entries: vec![Entry { key: key.to_owned(), key_origin: origin.clone(), node }] };
    let node = Node { value: Value::Table(inner), origin: origin.clone(), raw: None };
    Table { entries: vec![Entry { key: section.to_owned(), key_origin: origin.clone(), node }] }
}

/// Fills in `${env:NAME}` and `${file:PATH}`.
struct Filler<'f> {
    environment: &'f BTreeMap<String, String>,
    folder: &'f Path,
    problems: &'f mut Vec<Problem>,
}

impl Filler<'_> {
    fn table(&mut self, table: &mut Table, path: &str) {
        for entry in &mut table.entries {
            let here = join(path, &entry.key);
            self.node(&mut entry.node, &here);
        }
    }

    fn node(&mut self, node: &mut Node, path: &str) {
        match &mut node.value {
            Value::Table(table) => self.table(table, path),
            Value::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.node(item, &format!("{path}[{index}]"));
                }
            }
            Value::Text(text) if text.contains("${") => match self.fill(text) {
                Ok(filled) => node.value = Value::Text(filled),
                Err(message) => {
                    self.problems.push(Problem {
                        origin: node.origin.clone(),
                        path: path.to_owned(),
                        code: "unresolved",
                        message,
                        suggestion: None,
                    });
                    node.value = Value::Broken;
                }
            },
            _ => {}
        }
    }

    fn fill(&self, text: &str) -> Result<String, String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(before) = before.strip_suffix('$') {
                filled.push_str(before);
                filled.push_str("${");
                rest = after;
                continue;
            }
            filled.push_str(before);
            let (reference, behind) = after.split_once('}').ok_or("\"${\" without \"}\"")?;
            filled.push_str(&self.resolve(reference)?);
            rest = behind;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn resolve(&self, reference: &str) -> Result<String, String> {
        match reference.split_once(':') {
            Some(("env", name)) => self.environment.get(name).cloned().ok_or_else(|| {
                format!("the environment has no variable {name}, which ${{env:{name}}} asks for")
            }),
            Some(("file", path)) => {
                let file = self.folder.join(path);
                let text = read_bounded(&file, SECRET_BYTES_MAX).map_err(|error| {
                    format!("can't read {}, which ${{file:{path}}} asks for: {error}", file.display())
                })?;
                // Editors and `echo` end a file with a newline that is no part of the secret.
                Ok(text.trim_end_matches(['\r', '\n']).to_owned())
            }
            _ => Err(format!(
                "expected ${{env:NAME}} or ${{file:PATH}}, got ${{{reference}}}; a literal \"${{\" is written \"$${{\""
            )),
        }
    }
}

fn read_bounded(path: &Path, most: u64) -> std::io::Result<String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(most + 1).read_to_string(&mut text)?;
    if read as u64 > most {
        return Err(std::io::Error::other(format!("it is larger than {most} bytes")));
    }
    Ok(text)
}

const PREFIX: &str = "HOLDLINE__";
/// A configuration is a page or two; anything larger is the wrong file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Room for a certificate chain; more is the wrong file.
const SECRET_BYTES_MAX: u64 = 64 * 1024;
