//! What every action and every voice must keep: ours do, and what doesn't is found.

#[allow(dead_code)] // its story
#[path = "../examples/custom_action.rs"]
mod custom_action;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use holdline::action::{Action, Declared, Done, Fault, Happened, Kind, Scene, Step};
use holdline::config::{Config, Speech};
use holdline_harness::contract::action::Subject;
use holdline_harness::{Own, contract};
use serde_json::json;

/// The actions of the language.
#[test]
fn the_languages_own_actions_keep_the_contract() {
    for (document, presses) in [
        ("tasks: [{ type: talk, parameters: { text: hello } }]", ""),
        ("media: always\ntasks: [{ type: talk, parameters: { text: hello } }]", ""),
        ("media: always\ntasks: [{ type: beep }, { type: sleep, parameters: { duration: 2s } }]", ""),
        ("media: always\ntasks: [{ type: digits_send, parameters: { digits: '12' } }]", ""),
        ("media: always\ntasks: [{ type: digits_receive, parameters: { length: 1 } }]", "7"),
        ("tasks: [{ type: digits_receive, parameters: { length: 1, duration: 3s } }]", "7"),
        ("tasks: [{ type: http/request, parameters: { url: \"https://a.test\", method: POST } }]", ""),
        ("tasks: [{ type: fetch, parameters: { event_url: \"https://a.test/actions\" } }]", ""),
        (
            "tasks: [{ type: message_send, parameters: { source: \"+14155550100\", text: hi, destinations: [{ target: \"+14155550111\" }] } }]",
            "",
        ),
        (
            "tasks: [{ type: variable_set, parameters: { key: a, value: 1 } }, { type: goto, parameters: { target_id: e } }, { type: empty, id: e }]",
            "",
        ),
    ] {
        contract::action::check(&Subject { own: Own::default(), document, presses });
    }
}

/// Asks under a key that no restart finds again.
struct Forgetful(AtomicU64);

static FORGETFUL: Declared = Declared::new("acme/forgetful", "", Kind::Io).waits();

impl Action for Forgetful {
    fn declared(&self) -> &'static Declared {
        &FORGETFUL
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let count = u32::try_from(self.0.fetch_add(1, Ordering::Relaxed)).unwrap_or(0);
        let mut call = holdline_core::http::HttpCall::new(
            holdline_core::http::Method::Post,
            holdline_core::http::Endpoint::Url("https://a.test".to_owned()),
            1000,
        );
        call.headers.push(("Idempotency-Key".to_owned(), count.to_string()));
        scene.fetch(0, call)?;
        Ok(Step::Wait { memory: json!(null) })
    }

    fn resume(&self, _: &mut Scene<'_>, happened: &Happened<'_>) -> Result<Step, Fault> {
        Ok(happened.answer()?.map_or(Step::Stay, |answer| Step::Done(Done::with(answer.clone()))))
    }
}

#[test]
fn an_action_that_would_act_twice_is_found() {
    let own = Own::default().action(Forgetful(AtomicU64::new(0))).unwrap();
    let subject = Subject { own, document: "tasks: [{ type: acme/forgetful }]", presses: "" };
    let refused = catch_unwind(AssertUnwindSafe(|| contract::action::check(&subject))).unwrap_err();
    let why = refused.downcast_ref::<String>().cloned().unwrap_or_default();
    assert!(why.contains("it asks under other keys"), "{why}");
}

#[test]
fn an_action_of_ones_own_keeps_the_contract() {
    let own = Own::default().action(custom_action::LookUp).unwrap();
    let own = own.service("customers", |_| Ok(json!({ "name": "Ada" })));
    let document = "tasks: [{ type: acme/lookup, name: who, parameters: { number: x }, on_error: continue }]";
    contract::action::check(&Subject { own, document, presses: "" });
}

#[test]
fn the_voice_that_is_a_program_keeps_the_contract() {
    // A WAV file of as many samples as the text has bytes, and some more.
    let script = r#"n=$(( (${#1} + 80) * 2 )); le() { printf "\\$(printf %o $(($1 & 255)))\\$(printf %o $(($1 >> 8 & 255)))\\0\\0"; }
printf RIFF; le $((n + 36)); printf 'WAVEfmt \020\0\0\0\001\0\001\0\100\037\0\0\200\076\0\0\002\0\020\0data'; le $n; head -c $n /dev/zero"#;
    let speech = Speech::Command(["sh", "-c", script, "sh", "{text}"].map(str::to_owned).into());
    let config = Config { speech, ..Config::default() };
    let http = std::sync::Arc::new(holdline::adapter::http::HttpPort::new(&config.http));
    contract::speech::check(&|| Box::new(Shared(holdline::adapter::audio::voice(&config, http.clone()))));
}

struct Shared(std::sync::Arc<dyn holdline::speech::Speech>);

impl holdline::speech::Speech for Shared {
    fn speak(
        &self,
        saying: holdline::speech::Saying,
    ) -> futures::future::BoxFuture<
        'static,
        Result<holdline::speech::Spoken, (holdline::action::ErrorClass, String)>,
    > {
        self.0.speak(saying)
    }

    fn key(&self, saying: &holdline::speech::Saying) -> Vec<String> {
        self.0.key(saying)
    }
}
