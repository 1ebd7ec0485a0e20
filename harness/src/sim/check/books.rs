//! What is on disk: the order of each story, its one end, and that nothing in it is done twice.

use super::{Verdict, holds};
use holdline_core::call::CallFact;
use holdline_core::fact::{Entry, Fact, Key, ParentFact, RunFact};
use holdline_core::flow::fact::Begun;
use holdline_core::notice::{NetworkStatus, StatusNotice};
use holdline_core::{CallId, RunId};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(super) struct Books {
    pub calls: BTreeMap<CallId, CallBook>,
    runs: BTreeMap<RunId, RunBook>,
}

/// One call, as its facts tell it.
#[derive(Default)]
pub(super) struct CallBook {
    pub given: u32,
    /// A document without a way back, or the beginning of the end: `<Hangup/>` may be answered.
    pub may_hang_up: bool,
    pub rejected: bool,
    pub tokens_used: usize,
    pub status: Option<NetworkStatus>,
    pub notices: usize,
    pub legs: Vec<StatusNotice>,
    pub completion: Option<Value>,
    returned: BTreeSet<u32>,
    first_terminal: Option<NetworkStatus>,
    digits: String,
    main_run: Option<RunId>,
    sub_run: Option<RunId>,
    acked: bool,
}

#[derive(Default)]
struct RunBook {
    /// How many runs it is nested in: those end with the one around them.
    nested: bool,
    steps: u64,
    ended: BTreeSet<u64>,
    over: bool,
    completion: Option<Value>,
}

impl CallBook {
    pub fn is_over(&self) -> bool {
        self.rejected || self.completion.is_some()
    }
}

impl Books {
    pub fn written(&mut self, entry: &Entry) -> Verdict {
        match (&entry.key, &entry.fact) {
            (Key::Call(call), Fact::Call(fact)) => self.of_call(call, fact),
            (_, Fact::Run(RunFact::Begun(begun))) => self.begun(begun, false),
            (Key::Call(call), Fact::Run(fact)) => {
                let run = self.calls.get(call).and_then(|book| book.sub_run);
                run.map_or(Ok(()), |run| self.of_run(run, fact))
            }
            (Key::Run(run), Fact::Run(fact)) => self.of_run(*run, fact),
            (Key::Run(run), Fact::Parent(ParentFact::CallOver { completion })) => {
                let book = self.runs.entry(*run).or_default();
                holds(book.completion.is_none(), "one completion a call", || {
                    format!("the main workflow {run} took another one: {completion}")
                })?;
                book.completion = Some(completion.clone());
                let told = self.calls.values().find(|call| call.main_run == Some(*run));
                let told = told.and_then(|call| call.completion.as_ref());
                holds(told == Some(completion), "the completion is the call's", || {
                    format!("told {completion}, on disk {told:?}")
                })
            }
            _ => Ok(()),
        }
    }

    fn of_call(&mut self, call: &CallId, fact: &CallFact) -> Verdict {
        let book = self.calls.entry(call.clone()).or_default();
        let after = matches!(fact, CallFact::Acked);
        holds(!book.is_over() || after, "nothing after the end", || format!("{call}: {fact:?}"))?;
        match fact {
            CallFact::Arrived { arrival, main_run, sub_run, .. } => {
                holds(book.sub_run.is_none(), "a call begins once", || format!("{call} began again"))?;
                book.status = arrival.status.filter(|status| !status.is_terminal());
                book.main_run = *main_run;
                book.sub_run = Some(*sub_run);
            }
            CallFact::Rejected => {
                book.rejected = true;
                book.sub_run = None;
            }
            CallFact::Status { status, .. } => {
                let forward = book.status.is_none_or(|known| *status > known && !known.is_terminal());
                holds(forward, "a status never moves backwards", || {
                    format!("{call}: {status:?} after {:?}", book.status)
                })?;
                book.status = Some(*status);
                if status.is_terminal() {
                    book.first_terminal = book.first_terminal.or(Some(*status));
                }
            }
            CallFact::Given { plan, .. } => {
                holds(plan.exchange == book.given + 1, "documents are numbered in order", || {
                    format!("{call}: document {} after {}", plan.exchange, book.given)
                })?;
                book.given = plan.exchange;
                book.may_hang_up |= matches!(plan.ending, holdline_core::document::Ending::Hangup);
            }
            CallFact::Returned { exchange } => {
                holds(book.returned.insert(*exchange), "a document is returned from once", || {
                    format!("{call}: document {exchange} once more")
                })?;
            }
            CallFact::TokenUsed { .. } => book.tokens_used += 1,
            CallFact::Digits { digits } => book.digits.push_str(digits),
            CallFact::Stopping { .. } => book.may_hang_up = true,
            CallFact::ChildStatus { notice } => {
                book.notices += 1;
                book.legs.push(notice.clone());
            }
            CallFact::StreamNews { .. }
            | CallFact::RecordingNews { .. }
            | CallFact::ConferenceNews { .. } => {
                book.notices += 1;
            }
            CallFact::Over { completion, .. } => {
                book.may_hang_up = true;
                book.completion = Some(completion.clone());
                return book.checks_completion(call);
            }
            CallFact::Acked => {
                holds(!book.acked, "a completion is acknowledged once", || call.0.clone())?;
                book.acked = true;
                let run = book.main_run;
                let taken =
                    run.and_then(|run| self.runs.get(&run)).is_some_and(|run| run.completion.is_some());
                return holds(taken, "an acknowledgement comes behind its fact", || {
                    format!("{call}: the main workflow has nothing on disk")
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn begun(&mut self, begun: &Begun, nested: bool) -> Verdict {
        let is_new = !self.runs.contains_key(&begun.id);
        let book = self.runs.entry(begun.id).or_default();
        book.nested |= nested;
        holds(is_new, "a run begins once", || format!("{} began again", begun.id))
    }

    fn of_run(&mut self, run: RunId, fact: &RunFact) -> Verdict {
        if let RunFact::Child { id, fact } = fact {
            return match &**fact {
                RunFact::Begun(begun) => self.begun(begun, true),
                fact => self.of_run(*id, fact),
            };
        }
        let book = self.runs.entry(run).or_default();
        match fact {
            RunFact::Stepped { .. } => {
                book.steps += 1;
                let step = book.steps;
                book.ended.insert(step);
            }
            RunFact::StepBegan { .. } => book.steps += 1,
            RunFact::StepEnded { step, .. } => {
                holds(book.ended.insert(*step), "a step that is done is not done again", || {
                    format!("step {step} of {run} ended twice")
                })?;
                holds(*step <= book.steps, "a step begins before it ends", || {
                    format!("step {step} of {run}, which has begun {}", book.steps)
                })?;
            }
            RunFact::Over { .. } => {
                holds(!book.over, "a run ends once", || format!("{run} ended again"))?;
                book.over = true;
                return Ok(());
            }
            _ => return Ok(()),
        }
        holds(!book.over, "nothing after a run's end", || format!("{run}: {fact:?}"))
    }

    /// Everything that began has come to its end.
    pub fn closed(&self) -> Verdict {
        for (call, book) in &self.calls {
            holds(book.is_over(), "a call ends", || format!("{call} never did"))?;
            if let Some(main) = book.main_run {
                let taken = self.runs.get(&main).is_some_and(|run| run.completion.is_some());
                holds(taken, "one completion a call", || {
                    format!("the main workflow of {call} never got its own")
                })?;
                holds(book.acked, "a completion is acknowledged", || call.0.clone())?;
            }
        }
        for (run, book) in &self.runs {
            let over = book.over || book.nested || self.was_rejected(*run);
            holds(over, "a run ends", || format!("{run} never did"))?;
        }
        Ok(())
    }

    fn was_rejected(&self, run: RunId) -> bool {
        self.calls.values().any(|call| call.rejected && call.main_run == Some(run))
    }
}

impl CallBook {
    fn checks_completion(&self, call: &CallId) -> Verdict {
        let Some(completion) = &self.completion else { return Ok(()) };
        let word = |key: &str| completion.get(key).and_then(Value::as_str).unwrap_or_default();
        let status = self.first_terminal.map_or("completed", NetworkStatus::as_str);
        holds(word("callStatus") == status, "the first terminal status stands", || {
            format!("{call}: told {}, on disk {status}", word("callStatus"))
        })?;
        holds(word("digits") == self.digits, "every digit is told", || {
            format!("{call}: told {}, on disk {}", word("digits"), self.digits)
        })?;
        let whole = completion.get("callDuration").is_some_and(Value::is_u64);
        holds(whole, "a duration is whole seconds", || format!("{call}: {completion}"))
    }
}
