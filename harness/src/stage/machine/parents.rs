//! Main workflows: told of their call's end, and woken by their own time.

use super::*;

impl MachineStage {
    pub(super) fn tell_parent(
        &mut self,
        run: RunId,
        call: &CallId,
        completion: Value,
        todo: &mut VecDeque<Input>,
    ) {
        if !self.parents.contains_key(&run) {
            let Some(workflow) = self.fold_parent(run) else { return };
            self.parents.insert(run, workflow);
        }
        let Some(workflow) = self.parents.get_mut(&run) else { return };
        let mut effects = Vec::new();
        workflow.handle(self.now, workflow::Input::CallOver { call: call.clone(), completion }, &mut effects);
        self.perform_parent(run, effects, todo);
    }

    pub(super) fn fold_parent(&self, run: RunId) -> Option<Workflow> {
        let entries = self.journal.read(&Key::Run(run)).ok()?;
        let facts: Vec<Fact> = entries.into_iter().map(|entry| entry.fact).collect();
        let mut workflow = Workflow::restore(self.now, facts.iter())?;
        workflow.bind(Arc::new(self.shelf.clone()));
        Some(workflow)
    }

    pub(super) fn perform_parent(
        &mut self,
        run: RunId,
        effects: Vec<workflow::Effect>,
        todo: &mut VecDeque<Input>,
    ) {
        let mut answers = Vec::new();
        for effect in effects {
            match effect {
                workflow::Effect::Record(facts) => {
                    let (key, wall_ms) = (Key::Run(run), self.now.wall_ms);
                    let entry = |fact: Fact| Entry { key: fact.key(&key), wall_ms, fact };
                    self.append(facts.into_iter().map(entry).collect());
                }
                workflow::Effect::Fetch { no, errand } => {
                    answers.push(workflow::Input::Fetched { no, outcome: Elsewhere::answer(&errand) });
                }
                workflow::Effect::Deliver(_) | workflow::Effect::Answer { .. } => {}
                workflow::Effect::Follow { run } => self.reopen(Key::Run(run)),
                workflow::Effect::Ack { .. } => todo.push_back(Input::Acked),
                workflow::Effect::Over { run, .. } => self.close_story(&Key::Run(run)),
            }
        }
        for answer in answers {
            let Some(workflow) = self.parents.get_mut(&run) else { return };
            let mut effects = Vec::new();
            workflow.handle(self.now, answer, &mut effects);
            self.perform_parent(run, effects, todo);
        }
        if self.parents.get(&run).is_some_and(Machine::is_over) {
            self.parents.remove(&run);
        }
    }

    pub(super) fn wake_parent(&mut self, run: RunId, resume: bool) {
        let Some(workflow) = self.parents.get_mut(&run) else { return };
        let mut effects = Vec::new();
        if resume {
            workflow.handle(self.now, workflow::Input::Resume, &mut effects);
        } else {
            workflow.wake(self.now, &mut effects);
        }
        self.perform_parent(run, effects, &mut VecDeque::new());
    }
}
