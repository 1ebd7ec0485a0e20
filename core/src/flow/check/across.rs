//! What only all documents together can say: who exists, who is named twice, whose endings start each other.

use super::super::diagnostic::{Code, Notes, Report};
use super::super::parse::{Mention, Spans};
use super::super::source::quoted;
use crate::id::WorkflowId;
use std::collections::{BTreeMap, BTreeSet};

/// Checks `documents` among each other and the ones `in_force` already; problems are reported for `documents` only. One
/// in force gives way to a document of the same id.
pub fn check_all(documents: &[&Spans], in_force: &[&Spans]) -> Report {
    let mut known: BTreeMap<&WorkflowId, &Spans> = BTreeMap::new();
    let mut report = Report::default();
    for spans in documents {
        let Some((id, place)) = &spans.id else { continue };
        match known.get(id) {
            None => _ = known.insert(id, spans),
            Some(first) => {
                let mut notes = Notes::new(&spans.file);
                let message = format!("the workflow {:?} stands in {} already", id.0, first.file);
                notes.error(place, Code::DuplicateWorkflow, message);
                report.merge(notes.report);
            }
        }
    }
    for spans in in_force {
        if let Some((id, _)) = &spans.id {
            known.entry(id).or_insert(spans);
        }
    }
    for spans in documents {
        let mut notes = Notes::new(&spans.file);
        for Mention { word, place } in &spans.workflows {
            if !known.contains_key(&WorkflowId(word.clone())) {
                let ids = known.keys().map(|id| id.0.as_str());
                let message = format!("no workflow has the id {}", quoted(word));
                notes.error_near(place, Code::UnknownWorkflow, message, word, ids);
            }
        }
        for Mention { word, place } in &spans.wait_flows {
            let Some(flow) = known.get(&WorkflowId(word.clone())) else { continue };
            if !flow.skipped_while_queued.is_empty() {
                let skipped: Vec<&str> = flow.skipped_while_queued.iter().map(String::as_str).collect();
                let message = format!(
                    "{} of {} cannot be done while a caller waits in a queue and will be skipped",
                    skipped.join(", "),
                    quoted(word)
                );
                notes.warning(place, Code::NeedsStream, message);
            }
        }
        check_cycle(spans, &known, &mut notes);
        report.merge(notes.report);
    }
    report.sort();
    report
}

/// Follows the chain of `on_complete` from a document back to itself.
fn check_cycle(spans: &Spans, known: &BTreeMap<&WorkflowId, &Spans>, notes: &mut Notes) {
    let (Some((id, _)), Some(first)) = (&spans.id, &spans.on_complete) else { return };
    let mut way = vec![id.0.as_str()];
    let mut seen = BTreeSet::new();
    // Longer chains are cut when they run; nobody reads a longer way.
    const WAY_MAX: usize = 20;
    let mut next = Some(first);
    while let Some(mention) = next {
        way.push(&mention.word);
        if mention.word == id.0 {
            let message = format!("these workflows start each other without end: {}", way.join(" → "));
            notes.warning(&first.place, Code::OnCompleteCycle, message);
            return;
        }
        if !seen.insert(&mention.word) || way.len() > WAY_MAX {
            return;
        }
        next = known.get(&WorkflowId(mention.word.clone())).and_then(|spans| spans.on_complete.as_ref());
    }
}
