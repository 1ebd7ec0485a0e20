//! `queue_join`: the caller waits in a queue until an agent answers; meanwhile the wait flow turns.

use super::{Action, Done, Fault, Happened, Live, Parameters, Road, Scene, Step};
use crate::Now;
use crate::document::Verb;
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::flow::flows::NoFlows;
use crate::flow::script::ActionNode;
use crate::flow::stack::List;
use crate::flow::substitute::{Substitution, is_true};
use crate::flow::vars::{Vars, is_reserved};
use crate::flow::vocabulary::Vocabulary;
use crate::limit::DOCUMENT_VERBS_MAX;
use crate::notice::LineAnswer;
use crate::scene::{ErrorClass, Line};
use serde_json::{Value, json};
use std::sync::Arc;

/// Actions of one pass over a wait flow.
const PASS_STEPS_MAX: usize = 1000;
/// Verbs of one pass; they are spread over documents.
const PASS_VERBS_MAX: usize = 1000;
/// Heard in a turn that has nothing to say.
const SILENCE: Verb = Verb::Pause { seconds: 5 };

pub struct QueueJoin;

impl Action for QueueJoin {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let queue = scene.parameters.require("queue")?.to_owned();
        Ok(match scene.road(true, false) {
            Road::Verb => Step::Render { verbs: vec![Verb::Enqueue { queue }], last: true },
            Road::Not(want) => Step::Needs(want),
            Road::Stream => Step::Stay,
        })
    }

    fn resume(&self, scene: &mut Scene<'_>, happened: &Happened<'_>) -> Result<Step, Fault> {
        let Happened::Performed(answer) = happened else { return Ok(Step::Stay) };
        let LineAnswer::Queued { result, wait_seconds } = answer else {
            return Err(Fault::new(
                ErrorClass::Unavailable,
                "the network came back without the queue's result",
            ));
        };
        // Nobody but our own wait document sends a caller out of the queue like this.
        let timed_out = result == "leave" && scene.parameters.amount("timeout").is_some();
        let result = if timed_out { "timeout" } else { result.as_str() };
        let mut output = json!({ "result": result, "wait_seconds": wait_seconds });
        if let Some(actions) = scene.node.lists.get("wait_flow") {
            let list = Arc::new(List::new(actions));
            let Pass { skipped, .. } =
                pass(&list, scene.vars, (scene.now, scene.timezone, scene.flows.vocabulary()), 0);
            if !skipped.is_empty() {
                output["skipped"] = Value::from(skipped);
            }
        }
        Ok(Step::Done(Done::with(output)))
    }
}

/// One turn of waiting.
pub struct Wait<'w> {
    pub now: Now,
    /// From 0.
    pub turn: u32,
    /// Since the caller came into the queue.
    pub waited_s: u64,
    pub timezone: &'w str,
    pub vocabulary: &'w Vocabulary,
}

impl Wait<'_> {
    /// A pass over the wait flow's actions gives verbs; more than a document holds are spread over turns, and then the
    /// next pass begins: where the last one jumped back to, or at the first action. The same turn gives the same verbs
    /// while no variable changes.
    pub fn verbs(&self, list: &Arc<List>, vars: &Vars, parameters: Parameters<'_>) -> Vec<Verb> {
        let left_s = match parameters.amount("timeout").map(|ms| ms.div_ceil(1000)) {
            Some(most_s) if self.waited_s >= most_s => return vec![Verb::Leave],
            Some(most_s) => most_s - self.waited_s,
            None => u64::MAX,
        };
        let mut verbs = self.document(list, vars);
        // What is said and played is heard to its end; silence is not worth waiting longer than was promised.
        for verb in &mut verbs {
            if let Verb::Pause { seconds } = verb {
                *seconds = u32::try_from(left_s).unwrap_or(u32::MAX).min(*seconds);
            }
        }
        verbs
    }

    fn document(&self, list: &Arc<List>, vars: &Vars) -> Vec<Verb> {
        let mut passes: Vec<Pass> = Vec::new();
        let mut from = 0;
        // A pass depends on nothing but where it begins, so sooner or later they go round.
        let round = loop {
            match passes.iter().position(|pass| pass.from == from) {
                Some(round) => break round,
                None => {
                    let pass = pass(list, vars, (self.now, self.timezone, self.vocabulary), from);
                    from = pass.next;
                    passes.push(pass);
                }
            }
        };
        let documents: Vec<(usize, &[Verb])> = passes
            .iter()
            .enumerate()
            .flat_map(|(number, pass)| pass.documents().map(move |document| (number, document)))
            .collect();
        let again = documents.iter().position(|(number, _)| *number >= round).unwrap_or(0);
        let mut chosen = usize::try_from(self.turn).unwrap_or(0);
        if chosen >= documents.len() {
            chosen = again + (chosen - again) % documents.len().saturating_sub(again).max(1);
        }
        documents.get(chosen).map_or(vec![SILENCE], |(_, document)| document.to_vec())
    }
}

/// One pass over a wait flow. What it sets is forgotten after it; a jump back ends it.
struct Pass {
    from: usize,
    /// Where the next one begins.
    next: usize,
    verbs: Vec<Verb>,
    /// The ids of actions that could not be performed here.
    skipped: Vec<String>,
}

impl Pass {
    fn documents(&self) -> impl Iterator<Item = &[Verb]> {
        let silent = self.verbs.is_empty().then_some([SILENCE].as_slice());
        self.verbs.chunks(DOCUMENT_VERBS_MAX).chain(silent)
    }
}

/// Now, the zone of times that name none, and the words of the list.
type Around<'w> = (Now, &'w str, &'w Vocabulary);

fn pass(list: &Arc<List>, vars: &Vars, clock: Around<'_>, from: usize) -> Pass {
    let (mut vars, mut verbs, mut skipped) = (vars.clone(), Vec::new(), Vec::new());
    let mut index = from;
    let mut follows = 0;
    for _ in 0..PASS_STEPS_MAX {
        let Some(node) = list.node(index) else { break };
        let mut target = node.next.as_deref().and_then(|next| list.find(next));
        match perform(node, &vars, clock) {
            Some(Step::Render { verbs: rendered, .. }) => verbs.extend(rendered.into_iter().filter(is_plain)),
            Some(Step::Done(done)) => remember(&mut vars, done),
            Some(Step::Jump { target: to, done }) => {
                remember(&mut vars, done);
                target = list.find(&to);
            }
            _ => skipped.push(node.id.clone()),
        }
        let next = target.unwrap_or(index + 1);
        if next <= index || verbs.len() >= PASS_VERBS_MAX {
            follows = if list.node(next).is_some() { next } else { 0 };
            break;
        }
        index = next;
    }
    Pass { from, next: follows, verbs, skipped }
}

fn perform(node: &ActionNode, vars: &Vars, (now, timezone, words): Around<'_>) -> Option<Step> {
    let action = words.find(&node.kind)?;
    let mut substitution = Substitution::new(vars);
    if let Some(when) = &node.when
        && !is_true(&substitution.value(when).ok()?)
    {
        return Some(Step::Done(Done::default()));
    }
    let mut parameters = substitution.map(&node.parameters, action.markup()).ok()?;
    super::parameters::settle(action.declared().parameters, &node.parameters, &mut parameters).ok()?;
    let mut scene = Scene {
        now,
        line: Line::Asking,
        local_speech: false,
        always_stream: false,
        node,
        parameters: Parameters(&parameters),
        vars,
        timezone,
        flows: &NoFlows,
        typed: "",
        cleared: false,
        jumps: 0,
        undone: false,
        // No key cuts a wait document short: its prompts stay plain.
        next_gathers: true,
        memory: &Value::Null,
        recording: None,
        next_recording: 0,
        first_sound: 0,
        outside: None,
        live: &mut Live::default(),
        ops: &mut Vec::new(),
    };
    action.begin(&mut scene).ok()
}

fn is_plain(verb: &Verb) -> bool {
    matches!(verb, Verb::Say(_) | Verb::Play { .. } | Verb::Pause { .. })
}

fn remember(vars: &mut Vars, done: Done) {
    for (name, value) in done.sets {
        if !is_reserved(&name) && vars.admits([(name.as_str(), &value)].into_iter()).is_ok() {
            vars.set(&name, value);
        }
    }
    for (name, value) in done.learns {
        vars.set_runtime(&name, value);
    }
}

static DECLARED: Declared = Declared {
    name: "queue_join",
    aliases: &[],
    about: "Lets the caller wait in a queue.",
    kind: Kind::Media,
    needs_call: true,
    waits: true,
    parameters: &[
        Parameter {
            name: "queue",
            aliases: &["queue_id"],
            shape: Shape::Text,
            required: true,
            about: "Name of the queue.",
        },
        Parameter {
            name: "wait_flow",
            aliases: &[],
            shape: Shape::ActionsOrWorkflow,
            required: false,
            about: "What the caller hears meanwhile.",
        },
        Parameter {
            name: "timeout",
            aliases: &[],
            shape: Shape::Seconds { min: 1000, max: 86400000 },
            required: false,
            about: "How long the caller waits at most, looked at between the turns of the wait flow; then the result is `timeout`.",
        },
    ],
    secrets: false,
};
