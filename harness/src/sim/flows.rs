//! Workflows of a simulated world: a main one, the one that drives the call, and those that they use.
//!
//! Every action stands on a line of its own, so that what a failure does not need can be left out line by line.

use super::dice::Dice;

/// The workflows of one story, as they stand in its head.
pub(super) struct Flows {
    pub text: String,
    pub called: &'static str,
}

pub(super) fn draw(dice: &mut Dice) -> Flows {
    let mut writer = Writer { dice, text: String::new(), count: 0, nested: 0, fetched: false };
    let has_main = writer.dice.percent(80);
    if has_main {
        writer.main();
    }
    writer.story();
    writer.child();
    writer.after();
    Flows { text: writer.text, called: if has_main { "main" } else { "story" } }
}

struct Writer<'d> {
    dice: &'d mut Dice,
    text: String,
    count: u32,
    nested: u32,
    /// The child's actions were put into the story itself: once, or they would ask the same in two steps.
    fetched: bool,
}

/// Most actions of one list.
const ACTIONS_MAX: u64 = 6;

impl Writer<'_> {
    fn main(&mut self) {
        self.line("flow main <<");
        self.line("triggers:");
        self.line("  - { type: twilio/inboundCall, name: incoming, parameters: { subWorkflow: story } }");
        self.ends(40);
        self.line("tasks:");
        for _ in 0..self.dice.between(1, 4) {
            let name = self.name("m");
            let action = match self.dice.below(7) {
                0..=2 => self.request(&name, "main"),
                3 => self.webhook(&name),
                4 => format!(
                    "type: sleep, name: {name}, parameters: {{ duration: {}s }}",
                    self.dice.between(1, 20)
                ),
                5 => format!("type: subflow, name: {name}, parameters: {{ workflow: child }}"),
                _ => format!(
                    "type: variable_set, name: {name}, parameters: {{ key: why, value: \"${{incoming.endReason}}\" }}"
                ),
            };
            self.action(0, &action);
        }
        self.line("outputs: [{ name: why, value: \"${incoming.callStatus}\" }]");
        self.line(">>");
    }

    fn story(&mut self) {
        self.line("flow story <<");
        if self.dice.percent(30) {
            self.line("media: always");
        }
        if self.dice.percent(12) {
            self.line("on_end: hold");
        }
        self.ends(30);
        self.line("tasks:");
        for _ in 0..self.dice.between(1, ACTIONS_MAX) {
            self.any("s", 0);
        }
        self.line("outputs: [{ name: typed, value: \"${call.digits}\" }]");
        self.line(">>");
    }

    fn child(&mut self) {
        self.line("flow child <<");
        self.line("tasks:");
        self.line("  - { type: empty, name: c0 }");
        for _ in 0..self.dice.below(3) {
            // What a child runs may itself be anything but another child.
            self.nested = 1;
            self.any("c", 0);
            self.nested = 0;
        }
        self.line(">>");
    }

    fn after(&mut self) {
        self.line("flow after <<");
        self.ends(20);
        self.line("tasks:");
        self.line("  - { type: empty, name: a0 }");
        for _ in 0..self.dice.below(3) {
            let name = self.name("a");
            let action = match self.dice.below(3) {
                0 => self.request(&name, "after"),
                1 => self.webhook(&name),
                _ => format!("type: sleep, name: {name}, parameters: {{ duration: 1s }}"),
            };
            self.action(0, &action);
        }
        self.line(">>");
    }

    /// One action that a live call can perform, at this depth of lists.
    fn any(&mut self, prefix: &str, depth: usize) {
        let name = self.name(prefix);
        let ms = self.dice.one_of(&[200, 500, 1000, 2000, 3000], 500);
        let action = match self.dice.below(if depth == 0 { 33 } else { 22 }) {
            0..=2 => {
                let digits = self.dice.one_of(&["", ", digits_handle: next", ", async: true"], "");
                format!("type: talk, name: {name}, parameters: {{ text: \"Hello there\"{digits} }}")
            }
            3..=5 => {
                let digits = self.dice.one_of(&["", ", digits_handle: next", ", async: true"], "");
                let file = self
                    .dice
                    .one_of(&["hum.wav", "a longer tune for whoever waits.wav", "missing.wav"], "hum.wav");
                format!("type: play, name: {name}, parameters: {{ file: \"{file}\"{digits} }}")
            }
            6 => format!(
                "type: play, name: {name}, parameters: {{ stream_urls: [\"https://cdn.test/a.wav\"] }}"
            ),
            7..=9 => {
                let key = self.dice.one_of(&["", ", key: \"#\"", ", clear: true", ", inter_digit: 1s"], "");
                let length = self.dice.below(4);
                format!(
                    "type: digits_receive, name: {name}, parameters: {{ duration: {ms}, length: {length}{key} }}"
                )
            }
            10 => format!("type: echo, name: {name}, parameters: {{ duration: {ms} }}"),
            11..=12 => format!("type: sleep, name: {name}, parameters: {{ duration: {ms} }}"),
            13 => format!("type: beep, name: {name}"),
            14 => format!("type: digits_send, name: {name}, parameters: {{ digits: \"12\" }}"),
            15..=17 => self.request(&name, prefix),
            18..=19 => self.webhook(&name),
            20 => format!("type: speech_receive, name: {name}, parameters: {{ timeout: 2s }}"),
            21 => format!(
                "type: variable_set, name: {name}, parameters: {{ key: v{name}, value: \"${{call.digits}}\" }}"
            ),
            22 => {
                let target =
                    self.dice.one_of(&["+14155550111", "+14155550112", "+14155550113"], "+14155550111");
                format!(
                    "type: connect, name: {name}, parameters: {{ destinations: [{{ type: tel, target: \"{target}\" }}], timeout: 5s }}"
                )
            }
            23 => format!(
                "type: queue_join, name: {name}, parameters: {{ queue: support, timeout: {}s, wait_flow: [{{ type: talk, parameters: {{ text: \"Please hold\" }} }}] }}",
                self.dice.between(4, 30)
            ),
            24 => format!(
                "type: conference_join, name: {name}, parameters: {{ conference: room, label: l{name} }}"
            ),
            25 => {
                let ends = self.dice.one_of(
                    &["", ", duration: 2s", ", end_of_key: \"1\"", ", beep_start: true", ", channels: 2"],
                    "",
                );
                let source = self.dice.one_of(&["stream", "stream", "network"], "stream");
                self.action(
                    depth,
                    &format!("type: recording_start, name: {name}, parameters: {{ source: {source}{ends} }}"),
                );
                if self.dice.percent(40) {
                    self.any(prefix, 1);
                }
                let name = self.name(prefix);
                format!("type: recording_stop, name: {name}")
            }
            26 if self.nested == 0 => {
                format!("type: subflow, name: {name}, parameters: {{ workflow: child }}")
            }
            27 => return self.loops(&name, prefix),
            28 => return self.chooses(&name, prefix),
            29 if self.nested == 0 && !std::mem::replace(&mut self.fetched, true) => {
                format!("type: fetch_flow, name: {name}, parameters: {{ flow_id: child }}")
            }
            30 => {
                self.action(depth, &format!("type: talk, name: {name}, parameters: {{ text: \"Again\" }}"));
                let jump = self.name(prefix);
                let count = self.dice.between(1, 2);
                format!("type: goto, name: {jump}, parameters: {{ target_id: {name}, loop_count: {count} }}")
            }
            31 if self.dice.percent(80) => {
                // A block outside of the call's own run waits for ever.
                let kinds = ["hangup", "stop", "terminate", "block"];
                let kinds = if prefix == "s" { &kinds[..] } else { &kinds[..3] };
                let kind = self.dice.one_of(kinds, "hangup");
                format!("type: {kind}, name: {name}")
            }
            _ => format!("type: empty, name: {name}"),
        };
        self.action(depth, &action);
    }

    fn loops(&mut self, name: &str, prefix: &str) {
        self.line(&format!(
            "  - type: loop\n    name: {name}\n    parameters:\n      items: [1, 2, 3]\n      iteratee:"
        ));
        let item = self.name(prefix);
        // Each turn asks somewhere else: what is asked twice under two keys was done twice.
        self.action(6, &format!("type: http/request, name: {item}, on_error: continue, parameters: {{ method: POST, url: \"https://{prefix}.test/{item}/${{{name}.item}}?run=${{activeflow.id}}\" }}"));
        for _ in 0..self.dice.below(3) {
            self.looped(prefix);
        }
    }

    /// Inside a loop: nothing that asks, or the same would be asked in each turn.
    fn looped(&mut self, prefix: &str) {
        let name = self.name(prefix);
        let action = match self.dice.below(4) {
            0 => format!("type: talk, name: {name}, parameters: {{ text: \"Once more\" }}"),
            1 => format!("type: digits_receive, name: {name}, parameters: {{ duration: 500, length: 1 }}"),
            2 => format!("type: sleep, name: {name}, parameters: {{ duration: 300 }}"),
            _ => {
                format!("type: play, name: {name}, parameters: {{ file: \"tune.wav\", digits_handle: next }}")
            }
        };
        self.action(6, &action);
    }

    fn chooses(&mut self, name: &str, prefix: &str) {
        match self.dice.below(3) {
            0 => {
                self.line(&format!("  - type: condition\n    name: {name}\n    parameters:\n      expression: \"size(call.digits) > 0\"\n      rawExpression: true\n      caseTrue:"));
                self.any(prefix, 6);
                self.line("      caseFalse:");
                self.any(prefix, 6);
            }
            1 => {
                self.line(&format!(
                    "  - type: on-error\n    name: {name}\n    parameters:\n      main-branch:"
                ));
                self.any(prefix, 6);
                let item = self.name(prefix);
                self.action(6, &format!("type: http/request, name: {item}, on_error: fail, parameters: {{ url: \"https://missing.test/{item}\" }}"));
                self.line("      on-error-branch:");
                self.any(prefix, 6);
            }
            _ => {
                let end = self.name(prefix);
                self.action(0, &format!("type: branch, name: {name}, parameters: {{ target_ids: {{ \"1\": {end} }}, default_target_id: {end} }}"));
                self.action(0, &format!("type: empty, name: {end}"));
            }
        }
    }

    fn request(&mut self, name: &str, host: &str) -> String {
        let retry = self.dice.one_of(
            &[
                "",
                ", retry: { attempts: 3, initial: 2s, jitter: 0 }",
                ", retry: { attempts: 2, initial: 100ms, jitter: 0 }, on_error: continue",
                ", on_error: continue",
            ],
            "",
        );
        let method = self.dice.one_of(&["POST", "POST", "GET", "PUT"], "POST");
        let timeout = self.dice.one_of(&["", ", timeout: 2s"], "");
        format!(
            "type: http/request, name: {name}{retry}, parameters: {{ method: {method}, url: \"https://{host}.test/{name}?run=${{activeflow.id}}\"{timeout} }}"
        )
    }

    fn webhook(&mut self, name: &str) -> String {
        let sync = self.dice.one_of(&["", "", ", sync: true"], "");
        let host = self.dice.one_of(&["hook", "hook", "hook", "missing"], "hook");
        let on_error = if sync.is_empty() { "" } else { ", on_error: continue" };
        format!(
            "type: webhook_send, name: {name}{on_error}, parameters: {{ uri: \"https://{host}.test/{name}?run=${{activeflow.id}}\", data: {{ a: 1 }}{sync} }}"
        )
    }

    fn ends(&mut self, percent: u64) {
        if self.dice.percent(percent) {
            self.line("on_complete: after");
        }
    }

    fn action(&mut self, depth: usize, action: &str) {
        let indent = "  ".repeat(if depth >= 6 { 4 } else { 1 });
        self.line(&format!("{indent}- {{ {action} }}"));
    }

    fn name(&mut self, prefix: &str) -> String {
        self.count += 1;
        format!("{prefix}{}", self.count)
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }
}
