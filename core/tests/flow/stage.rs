//! A stage for one run: builds scripts from small JSON, keeps the time, and checks after every turn that folding the
//! facts gives the run again.

use holdline_core::document::Verb;
use holdline_core::fact::RunFact;
use holdline_core::flow::Vocabulary;
use holdline_core::flow::flows::Flows;
use holdline_core::flow::script::*;
use holdline_core::flow::{Run, RunSpec};
use holdline_core::http::*;
use holdline_core::limit::Limits;
use holdline_core::notice::LineAnswer;
use holdline_core::scene::*;
use holdline_core::{CallId, Now, RunId, Tick, WorkflowId};
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub const WALL: u64 = 1_800_000_000_000;

pub struct Stage {
    pub run: Run,
    pub facts: Vec<RunFact>,
    pub now: Now,
    pub line: Line,
    pub local_speech: bool,
    /// Of the last turn.
    pub ops: Vec<Op>,
    pub needs: Needs,
    pub wake_at: Option<Tick>,
    pub follow: Vec<RunFact>,
    pub verdict: Option<Result<(), Refused>>,
    /// The workflows that its actions may name.
    pub flows: Option<Arc<dyn Flows>>,
}

pub fn node(value: &Value) -> ActionNode {
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let kind = text("type").expect("a type");
    let mut parameters = value.get("with").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut lists = std::collections::BTreeMap::new();
    for name in
        ["wait_flow", "caseTrue", "caseFalse", "iteratee", "main-branch", "on-error-branch", "default"]
    {
        if parameters.get(name).is_some_and(Value::is_array) {
            let list = parameters.remove(name).unwrap_or_default();
            lists.insert(name.to_owned(), nodes(&list));
        }
    }
    let cases = parameters.get_mut("cases").and_then(Value::as_array_mut);
    for (index, case) in cases.into_iter().flatten().enumerate() {
        if let Some(list) = case.as_object_mut().and_then(|case| case.remove("tasks")) {
            lists.insert(format!("cases[{index}].tasks"), nodes(&list));
        }
    }
    ActionNode {
        id: text("id").unwrap_or_else(|| format!("{kind}-{parameters:?}")),
        kind,
        name: text("name"),
        label: None,
        parameters,
        lists,
        next: text("next"),
        when: value.get("when").cloned(),
        retry: value.get("retry").map(|retry| serde_json::from_value(retry.clone()).expect("a retry")),
        timeout_ms: value.get("timeout_ms").and_then(Value::as_u64),
        on_error: value
            .get("on_error")
            .map(|policy| serde_json::from_value(policy.clone()).expect("a policy")),
        extra: Map::new(),
    }
}

pub fn nodes(value: &Value) -> Vec<ActionNode> {
    value.as_array().expect("a list").iter().map(node).collect()
}

pub fn script(actions: &Value) -> Script {
    Script {
        id: WorkflowId("story".to_owned()),
        label: None,
        description: None,
        dialect: Dialect::Components,
        triggers: Vec::new(),
        actions: nodes(actions),
        inputs: Value::Null,
        outputs: Vec::new(),
        on_complete: None,
        on_end: OnEnd::Hangup,
        media: MediaPreference::Auto,
        resume_phrase: None,
        retry: None,
        timeout_ms: None,
        limits: Limits::default(),
        defaults: Defaults::default(),
        timezone: UTC.to_owned(),
        extra: Map::new(),
        laid: Default::default(),
    }
}

pub fn spec(script: Script) -> RunSpec {
    RunSpec {
        id: serde_json::from_value::<RunId>(json!("0190b3c4-1c2d-7e3f-8a4b-5c6d7e8f9a0b")).expect("an id"),
        script: Arc::new(script),
        reference: Reference::call(&CallId("CA1".to_owned())),
        variables: Map::new(),
        complete_count: 0,
        parent: None,
        on_complete: None,
        webhook: None,
    }
}

impl Stage {
    pub fn of(actions: Value) -> Stage {
        Stage::with(spec(script(&actions)))
    }

    pub fn with(spec: RunSpec) -> Stage {
        let now = Now { tick: Tick(0), wall_ms: WALL };
        for node in &spec.script.actions {
            assert!(Vocabulary::standard().find(&node.kind).is_some(), "no action `{}`", node.kind);
        }
        let (run, facts) = Run::begin(now, spec);
        Stage {
            run,
            facts,
            now,
            line: Line::Asking,
            local_speech: false,
            ops: Vec::new(),
            needs: Needs::Nothing,
            wake_at: None,
            follow: Vec::new(),
            verdict: None,
            flows: None,
        }
    }

    pub fn take(&mut self, event: Event) -> &mut Stage {
        let posture = Posture { line: self.line, local_speech: self.local_speech };
        if let Some(flows) = &self.flows {
            self.run.bind(flows.clone());
        }
        let turn = self.run.take(self.now, &posture, event);
        self.facts.extend(turn.facts);
        self.ops = turn.ops;
        self.needs = turn.needs;
        self.wake_at = turn.wake_at;
        self.follow = turn.follow;
        self.verdict = turn.verdict;
        let folded = Run::restore(self.now, self.facts.iter()).expect("the facts fold");
        assert!(folded == self.run, "fold: {folded:#?}\nlive: {:#?}", self.run);
        self
    }

    pub fn proceed(&mut self, line: Line) -> &mut Stage {
        self.line = line;
        self.take(Event::Proceed)
    }

    /// The network is back with what the last verb brought, and asks for more.
    pub fn back(&mut self, answer: LineAnswer) -> &mut Stage {
        self.line = Line::Asking;
        self.take(Event::Performed { answer })
    }

    pub fn digits(&mut self, digits: &str) -> &mut Stage {
        self.back(LineAnswer::Gathered { digits: digits.to_owned(), speech: None, confidence: None })
    }

    pub fn stream(&mut self) -> &mut Stage {
        self.line = Line::Streaming;
        self.take(Event::Performed { answer: LineAnswer::Returned })
    }

    pub fn press(&mut self, digit: char) -> &mut Stage {
        self.take(Event::Pressed { digit })
    }

    /// What the last turn asks of others.
    pub fn errands(&self) -> Vec<(FetchNo, Errand)> {
        let errand = |op: &Op| match op {
            Op::Fetch { no, errand } => Some((*no, errand.clone())),
            _ => None,
        };
        self.ops.iter().filter_map(errand).collect()
    }

    /// The one request that the last turn makes.
    pub fn asked(&self) -> HttpCall {
        match self.errands().pop() {
            Some((_, Errand::Http(call))) => *call,
            other => panic!("no request: {other:?}"),
        }
    }

    pub fn fetched(&mut self, outcome: Outcome) -> &mut Stage {
        let (no, _) = self.errands().pop().expect("an errand");
        self.take(Event::Fetched { no, outcome })
    }

    pub fn answered(&mut self, status: u16, body: Value) -> &mut Stage {
        self.fetched(Ok(HttpReply { status, headers: Default::default(), body: ReplyBody::Json(body) }))
    }

    /// The newest sound of the last turns ends.
    pub fn sounded(&mut self, sound: u64, how: SoundEnd, heard_ms: u64) -> &mut Stage {
        self.take(Event::Sounded { sound, heard_ms, how })
    }

    pub fn after_ms(&mut self, ms: u64) -> &mut Stage {
        self.now.tick.0 += ms * 1000;
        self.now.wall_ms += ms;
        self.take(Event::Due)
    }

    /// The process dies and another one goes on from the facts, through the journal's own format.
    pub fn crash(&mut self) -> &mut Stage {
        let text = serde_json::to_string(&self.facts).expect("facts are written");
        let read: Vec<RunFact> = serde_json::from_str(&text).expect("facts are read");
        assert_eq!(read, self.facts);
        self.run = Run::restore(self.now, read.iter()).expect("the facts fold");
        self
    }

    /// Actions are pushed from outside, and the flow goes on.
    pub fn push(&mut self, actions: &Value) -> &mut Stage {
        self.facts.extend(self.run.push(self.now, nodes(actions)));
        self.take(Event::Proceed)
    }

    pub fn verbs(&self) -> Vec<Verb> {
        self.ops
            .iter()
            .filter_map(|op| if let Op::Render(verb) = op { Some(verb.clone()) } else { None })
            .collect()
    }

    /// Ops in short: `say hi`, `play u`, `pause 2`, `gather 1/5s`, `sound beep`, `hush`.
    pub fn did(&self) -> String {
        self.ops.iter().map(brief).collect::<Vec<_>>().join(", ")
    }

    pub fn sounds(&self) -> Vec<u64> {
        self.ops
            .iter()
            .filter_map(|op| if let Op::Sound { sound, .. } = op { Some(*sound) } else { None })
            .collect()
    }

    pub fn over(&self) -> &RunOver {
        match &self.needs {
            Needs::Over(over) => over,
            other => panic!("not over: {other:?}"),
        }
    }

    pub fn view(&self) -> Value {
        self.run.view()
    }

    /// `type:outcome` of every executed action.
    pub fn history(&self) -> Vec<String> {
        let view = self.view();
        let entries = view["executed_actions"].as_array().expect("a list").clone();
        entries
            .iter()
            .map(|entry| {
                format!("{}:{}", entry["type"].as_str().unwrap(), entry["outcome"].as_str().unwrap())
            })
            .collect()
    }

    pub fn entry(&self, at: usize) -> Value {
        self.view()["executed_actions"][at].clone()
    }

    pub fn var(&self, name: &str) -> Value {
        self.run.vars().look_up(name).map_or(Value::Null, |value| value.into_owned())
    }
}

fn brief(op: &Op) -> String {
    match op {
        Op::Render(verb) => brief_verb(verb),
        Op::Sound { what, .. } => match what {
            Sound::File(file) => format!("sound file {file}"),
            Sound::Url(url) => format!("sound {url}"),
            Sound::Tones { digits, duration_ms, interval_ms } => {
                format!("tones {digits} {duration_ms}/{interval_ms}")
            }
            Sound::Beep { hz, ms } => format!("beep {hz}/{ms}"),
            Sound::Speech { text, ssml, .. } => format!("speak{} {text}", if *ssml { " ssml" } else { "" }),
        },
        Op::Hush => "hush".to_owned(),
        Op::Echo(on) => format!("echo {on}"),
        Op::StartRecording(wish) => format!("record {} {}ch", wish.ordinal, wish.channels),
        Op::StopRecording => "stop recording".to_owned(),
        Op::Fetch { no, errand: Errand::Http(call) } => {
            format!("fetch {}.{}.{} {} {:?}", no.step, no.attempt, no.part, call.method, call.endpoint)
        }
        Op::Fetch { no, errand: Errand::Mail(mail) } => {
            format!("mail {}.{}.{} {}", no.step, no.attempt, no.part, mail.to)
        }
        Op::Fetch { no, errand: Errand::Service(call) } => {
            format!("ask {}.{}.{} {}", no.step, no.attempt, no.part, call.service)
        }
        Op::Owe(delivery) => format!("owe {:?}", delivery.call.endpoint),
    }
}

fn brief_verb(verb: &Verb) -> String {
    match verb {
        Verb::Say(say) => format!("say{} {}", if say.ssml { " ssml" } else { "" }, say.text),
        Verb::Play { url } => format!("play {url}"),
        Verb::Pause { seconds } => format!("pause {seconds}"),
        Verb::Gather(gather) => {
            let prompts: Vec<String> = gather.prompts.iter().map(brief_verb).collect();
            format!(
                "gather[{}] {}/{}s key={:?} empty={}{}",
                prompts.join(", "),
                gather.num_digits.map_or("*".to_owned(), |n| n.to_string()),
                gather.timeout_s,
                gather.finish_on_key,
                gather.action_on_empty_result,
                if gather.speech.is_some() { " speech" } else { "" }
            )
        }
        Verb::Dial(dial) => format!("dial {:?}", dial.nouns),
        Verb::Conference(conference) => format!("conference {}", conference.name),
        Verb::Enqueue { queue } => format!("enqueue {queue}"),
        Verb::StartRecording { channels } => format!("network records {channels}ch"),
        Verb::StopRecording => "network stops recording".to_owned(),
        Verb::Leave => "leave".to_owned(),
    }
}
