//! Main workflows: told of their call's end, and woken by their own time.

use super::*;

impl MachineStage {
    pub(super) fn tell_parent(&mut self, run: RunId, call: &CallId, completion: Value) {
        if !self.parents.contains_key(&run) {
            let Some(workflow) = self.fold_parent(run) else { return };
            self.parents.insert(run, Parent::of(workflow));
        }
        let input = workflow::Input::CallOver { call: call.clone(), completion };
        self.post(Letter::Parent(run, input));
    }

    pub(super) fn fold_parent(&self, run: RunId) -> Option<Workflow> {
        let entries = self.fate.disk.journal.read(&Key::Run(run)).ok()?;
        let facts: Vec<Fact> = entries.into_iter().map(|entry| entry.fact).collect();
        let mut workflow = Workflow::restore(self.now, facts.iter())?;
        workflow.bind(Arc::new(self.shelf.clone()));
        Some(workflow)
    }

    pub(super) fn settle_parent(&mut self, run: RunId, effects: Vec<workflow::Effect>) {
        if let Some(parent) = self.parents.get_mut(&run) {
            let decided_ms = self.now.wall_ms;
            parent.held.extend(effects.into_iter().map(|effect| (decided_ms, effect)));
        }
        while let Some((decided_ms, effect)) = self.parents.get_mut(&run).and_then(Parent::next) {
            if self.dies() {
                return;
            }
            self.perform_parent(run, decided_ms, effect);
        }
        let is_done =
            |parent: &Parent| parent.workflow.is_over() && parent.held.is_empty() && !parent.writing;
        if self.parents.get(&run).is_some_and(is_done) {
            self.parents.remove(&run);
        }
    }

    pub(super) fn perform_parent(&mut self, run: RunId, wall_ms: u64, effect: workflow::Effect) {
        match effect {
            workflow::Effect::Record(facts) => {
                let key = Key::Run(run);
                let entry = |fact: Fact| Entry { key: fact.key(&key), wall_ms, fact };
                let written = self.append(Whose::Parent(run), facts.into_iter().map(entry).collect());
                if let Some(parent) = self.parents.get_mut(&run) {
                    parent.writing = !written;
                }
            }
            workflow::Effect::Fetch { no, errand } => self
                .ask_others(&errand, |outcome| Letter::Parent(run, workflow::Input::Fetched { no, outcome })),
            workflow::Effect::Deliver(delivery) => self.owe(delivery),
            // Nobody asks a run here.
            workflow::Effect::Answer { .. } => {}
            workflow::Effect::Follow { run } => self.reopen(Key::Run(run)),
            workflow::Effect::Ack { call } => self.turn(&call, Input::Acked),
            workflow::Effect::Over { run, .. } => self.close_story(&Key::Run(run)),
        }
    }
}

impl Parent {
    pub(super) fn of(workflow: Workflow) -> Parent {
        Parent { workflow, held: VecDeque::new(), writing: false }
    }

    pub(super) fn next(&mut self) -> Option<(u64, workflow::Effect)> {
        if self.writing { None } else { self.held.pop_front() }
    }
}
