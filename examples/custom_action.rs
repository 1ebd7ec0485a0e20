//! An action of one's own, `acme/lookup`: asks a service of this program who is calling, and greets them by their name.
//!
//! `cargo run --example custom_action` performs a call with it, in no time at all. `Runtime::builder(config)` takes the
//! same action and the same service: `.action(LookUp).service("customers", customers)`.

use holdline::action::{
    Action, Declared, Done, Failed, Fault, Happened, Kind, Parameter, Scene, ServiceCall,
};
use holdline::action::{Shape, Step};
use holdline_harness::Story;
use serde_json::{Value, json};

/// `- { type: acme/lookup, name: customer, parameters: { number: "${call.from}" } }`
pub struct LookUp;

static LOOK_UP: Declared = Declared::new("acme/lookup", "Who is this?", Kind::Io)
    .waits()
    .parameters(&[Parameter::required("number", Shape::Text, "As the caller shows it.")]);

impl Action for LookUp {
    fn declared(&self) -> &'static Declared {
        &LOOK_UP
    }

    /// Decides, and does nothing by itself: what it asks is asked once this step is written down.
    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let number = scene.parameters.require("number")?;
        scene.ask("customers", json!({ "number": number }))
    }

    fn resume(&self, _: &mut Scene<'_>, happened: &Happened<'_>) -> Result<Step, Fault> {
        Ok(match happened.answer()? {
            Some(customer) => Step::Done(Done::with(customer.clone())),
            None => Step::Stay,
        })
    }
}

/// The service: any async function. A real one would ask a database, with `call.idempotency_key` if it changes anything.
pub async fn customers(call: ServiceCall) -> Result<Value, Failed> {
    known(&call)
}

fn known(call: &ServiceCall) -> Result<Value, Failed> {
    match call.request["number"].as_str() {
        Some("+14155550100") => Ok(json!({ "name": "Ada" })),
        _ => Err(Failed::rejected("nobody knows this number")),
    }
}

/// A call with it, as it must go.
const CALL: &str = r#"
# A caller whom the service knows is greeted by name.
flow greeting <<
tasks:
  - { type: acme/lookup, name: customer, parameters: { number: "${call.from}" }, on_error: continue }
  - { type: talk, parameters: { text: "Hello, ${customer.name:-stranger}." } }
>>

  0.0  <- acme/lookup customer ok: name=Ada
  0.0  <- gives Stream, back to 1
  0.0  <- stream up
  0.0  <- stream down, 1000
  0.0  <- gives Say "Hello, Ada.", Hangup
  0.0  <- says "Hello, Ada."
  1.1  <- line completed after 1.1 s
  1.1  <- talk ok
  1.1  <- flow over: completed
  1.1  <- call over: completed; completed after 1 s, flow completed
"#;

pub fn main() {
    let told = story().perform().unwrap_or_else(|untold| panic!("{untold}"));
    println!("{CALL}\nThe call went as it is written: {:?} of its own time.", told.lasted);
}

pub fn story() -> Story {
    Story::new(CALL).action(LookUp).service("customers", known)
}
