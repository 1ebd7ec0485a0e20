//! What certain parameters must hold beyond their shape, and actions that stand where they have no effect.

use super::super::action::condition_datetime::is_weekday;
use super::super::declare::Kind;
use super::super::diagnostic::{Code, Notes, Place};
use super::super::parse::{Language, is_dynamic, is_reserved};
use super::super::script::{MediaPreference, Script};
use super::super::source::quoted;
use super::layout::{Flat, Layout};
use super::ssml;
use serde_json::Value;
use std::collections::BTreeSet;

/// What the network can say and play by itself, while it keeps a caller in a queue. Of the rest, only what needs neither
/// the line nor the world is done there.
const WHILE_QUEUED: &[&str] = &["answer", "talk", "play"];

/// What pushes a list of actions: a wait document is one pass over one list.
const NO_STACKS: &[&str] = &["branch", "condition", "fetch_flow", "loop", "on-error"];

pub(super) struct Context<'a> {
    language: &'a Language<'a>,
    /// A trigger hands the call to a sub-workflow, so here is never one.
    pub is_main: bool,
    /// All of the workflow is here: what is not around an action is nowhere.
    pub is_whole: bool,
    /// Nothing becomes a verb that can be on the stream.
    keeps_stream: bool,
}

impl<'a> Context<'a> {
    pub fn of(language: &'a Language<'a>, script: &Script) -> Context<'a> {
        let hands_on = |kind: &str| language.triggers.iter().any(|t| t.name == kind && t.hands_call_on);
        Context {
            language,
            is_whole: true,
            is_main: script.triggers.iter().any(|trigger| hands_on(&trigger.kind)),
            keeps_stream: script.media == MediaPreference::Always,
        }
    }

    /// For actions of which it is not known where they will run.
    pub fn unknown(language: &'a Language<'a>) -> Context<'a> {
        Context { language, is_main: false, is_whole: false, keeps_stream: true }
    }
}

pub(super) fn check(layout: &Layout<'_>, context: &Context<'_>, notes: &mut Notes) {
    for flat in &layout.actions {
        check_placing(layout, flat, context, notes);
        check_parameters(flat, context, notes);
        check_completeness(flat, notes);
    }
}

/// Parameters of which an action needs one or the other.
fn check_completeness(flat: &Flat<'_>, notes: &mut Notes) {
    let has = |name: &str| flat.place.parameters.contains_key(name);
    let either: &[&str] = match flat.node.kind.as_str() {
        "branch" => &["target_ids", "expression"],
        "condition" => &["expression", "conditions"],
        "loop" => &["items", "loopForever"],
        _ => return,
    };
    if !either.iter().any(|name| has(name)) {
        let shown: Vec<String> = either.iter().map(|name| format!("{name:?}")).collect();
        let message = format!("expected one of the parameters {}", shown.join(" and "));
        notes.error(&flat.place.place, Code::MissingKey, message);
    }
    if flat.node.kind == "branch" && has("expression") {
        for name in ["variable", "target_ids", "default_target_id"].into_iter().filter(|name| has(name)) {
            let place = flat.place.parameters.get(name).unwrap_or(&flat.place.place);
            let message = format!("{name:?} has no effect beside \"expression\"");
            notes.warning(place, Code::IgnoredKey, message);
        }
    }
}

fn check_placing(layout: &Layout<'_>, flat: &Flat<'_>, context: &Context<'_>, notes: &mut Notes) {
    let kind = flat.node.kind.as_str();
    let place = &flat.place.place;
    if context.is_main && context.language.action(kind).is_some_and(|declared| declared.needs_call) {
        let message = format!("{kind:?} needs a live call, and a main workflow has none: it will be skipped");
        notes.warning(place, Code::MediaInMainWorkflow, message);
    }
    if kind == "loopBreak" && context.is_whole && !layout.is_within(flat.list, "iteratee") {
        notes.error(place, Code::UnreachableTarget, "there is no loop around this \"loopBreak\"");
    }
    if layout.is_within(flat.list, "wait_flow") && is_skipped_while_queued(flat, context.language) {
        let message =
            format!("{} cannot be done while a caller waits in a queue: it will be skipped", shown(flat));
        notes.warning(place, Code::NeedsStream, message);
    }
}

/// The document's own actions that a queue would skip, if it were what callers hear there.
pub(super) fn skipped_while_queued(layout: &Layout<'_>, language: &Language<'_>) -> BTreeSet<String> {
    let own = layout.actions.iter().filter(|flat| !layout.is_within(flat.list, "wait_flow"));
    own.filter(|flat| is_skipped_while_queued(flat, language)).map(shown).collect()
}

fn is_skipped_while_queued(flat: &Flat<'_>, language: &Language<'_>) -> bool {
    let Some(declared) = language.action(&flat.node.kind) else { return false };
    let needs_more = declared.needs_call && !WHILE_QUEUED.contains(&declared.name);
    let pushes = NO_STACKS.contains(&declared.name)
        && (declared.name != "branch" || flat.node.parameters.contains_key("expression"));
    needs_more || pushes || matches!(declared.kind, Kind::Io | Kind::Child) || plays_file(flat)
}

/// Files come over the stream; the network itself plays addresses.
fn plays_file(flat: &Flat<'_>) -> bool {
    flat.node.kind == "play" && flat.node.parameters.contains_key("file")
}

fn shown(flat: &Flat<'_>) -> String {
    if plays_file(flat) { "\"play\" with a file".to_owned() } else { format!("{:?}", flat.node.kind) }
}

fn check_parameters(flat: &Flat<'_>, context: &Context<'_>, notes: &mut Notes) {
    let kind = flat.node.kind.as_str();
    for (name, value) in &flat.node.parameters {
        let place = flat.place.parameters.get(name).unwrap_or(&flat.place.place);
        match (kind, name.as_str(), value) {
            ("talk" | "play", "async", Value::Bool(true)) if !context.keeps_stream => {
                let message = "\"async\" is ignored where the network performs it as a verb; \
                               `media: always` keeps it on the stream";
                notes.warning(place, Code::AsyncOnVerb, message);
            }
            // Whether it is SSML is decided before anything is substituted, so it is known here.
            ("talk", "text", Value::String(text)) if text.starts_with("<speak") => {
                if let Err(wrong) = ssml::check(text) {
                    notes.error(place, Code::MalformedSsml, format!("malformed SSML: {wrong}"));
                }
            }
            ("play", "file", Value::String(path)) => check_file(path, place, notes),
            ("variable_set", "key", Value::String(key)) if !is_dynamic(key) && is_reserved(key) => {
                let message = format!("the name {} belongs to the runtime: it will not be set", quoted(key));
                notes.warning(place, Code::ReservedName, message);
            }
            ("condition_datetime", "weekdays", Value::Array(days)) => {
                let is_open = |day: &&Value| !day.as_str().is_some_and(is_dynamic);
                for day in days.iter().filter(is_open).filter(|day| !is_weekday(day)) {
                    let message = format!("expected 0 (Sunday) to 6 or a day's English name, got {day}");
                    notes.error(place, Code::InvalidValue, message);
                }
            }
            (_, "timezone", Value::String(zone))
                if !is_dynamic(zone) && !(context.language.zone_known)(zone) =>
            {
                let message =
                    format!("expected the name of a time zone (Europe/Berlin), got {}", quoted(zone));
                notes.error(place, Code::UnknownTimezone, message);
            }
            _ => {}
        }
    }
}

/// Sound files lie beside their workflow or below it.
fn check_file(path: &str, place: &Place, notes: &mut Notes) {
    let is_drive = path.as_bytes().get(1) == Some(&b':');
    let is_absolute = path.starts_with(['/', '\\']) || is_drive;
    if is_absolute || path.split(['/', '\\']).any(|part| part == "..") {
        let message =
            format!("expected a path below the workflow's own folder, without \"..\", got {}", quoted(path));
        notes.error(place, Code::UnsafePath, message);
    }
}
