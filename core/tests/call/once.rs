//! What a person asks for under a key is done once, wherever the process dies and however soon it comes again.

use holdline_core::RunId;
use holdline_core::call::*;
use holdline_core::fact::{Fact, RunFact};
use holdline_core::fuzz::{Stage, script};
use holdline_core::once::{KEPT_MS, Stamp};
use holdline_core::scene::{Command, Refused};
use uuid::Uuid;

const BLOCKS: &str = r#"{"tasks": [{"id": "a", "type": "block"}, {"id": "b", "type": "block"},
    {"id": "c", "type": "block"}]}"#;

fn blocked() -> Stage {
    let mut stage = Stage::new(script(BLOCKS).unwrap());
    stage.voice(Some("first"));
    stage
}

fn stamp(key: u128, body: u128) -> Option<Stamp> {
    Some(Stamp { key: Uuid::from_u128(key), body: Uuid::from_u128(body) })
}

fn execute(run: RunId) -> Request {
    Request::Command { run, command: Command::Execute { current_action_id: None, actions: None } }
}

fn push(run: RunId) -> Request {
    let actions = script(r#"{"tasks": [{"id": "p", "type": "block"}]}"#).unwrap().actions.clone();
    Request::Command { run, command: Command::Push { actions, interrupt: false } }
}

fn set(run: RunId) -> Request {
    Request::Command { run, command: Command::Set { variables: vec![("vip".to_owned(), true.into())] } }
}

fn say(_: RunId) -> Request {
    Request::Say { text: "one moment".to_owned() }
}

fn hang_up(_: RunId) -> Request {
    Request::HangUp
}

fn count(stage: &Stage, is: impl Fn(&Fact) -> bool) -> usize {
    stage.facts.iter().filter(|(_, fact)| is(fact)).count()
}

#[test]
fn wherever_the_process_dies_a_wish_that_comes_again_is_carried_out_once() {
    type Wish = (fn(RunId) -> Request, fn(&Fact) -> bool, Answer);
    let wishes: [Wish; 5] = [
        (execute, |fact| matches!(fact, Fact::Run(RunFact::StepEnded { .. })), Answer::Commanded(Ok(()))),
        (push, |fact| matches!(fact, Fact::Run(RunFact::Pushed { .. })), Answer::Commanded(Ok(()))),
        (set, |fact| matches!(fact, Fact::Run(RunFact::Assigned { .. })), Answer::Commanded(Ok(()))),
        (say, |fact| matches!(fact, Fact::Call(CallFact::Said { .. })), Answer::Saying { deferred: true }),
        (
            hang_up,
            |fact| matches!(fact, Fact::Call(CallFact::Stopping { .. })),
            Answer::Ending { deferred: true },
        ),
    ];
    for (number, (wish, causes, answer)) in wishes.into_iter().enumerate() {
        let (mut lost, mut kept) = (0, 0);
        for effects in 0..8 {
            let mut stage = blocked();
            let before = count(&stage, causes);
            let wish = || wish(stage_run(&stage)).stamped(stamp(1, 1));
            let (first, again, third) = (wish(), wish(), wish());
            stage.dies_after = Some(effects);
            stage.ask(first);
            stage.crash();
            match count(&stage, causes) - before {
                0 => lost += 1,
                _ => kept += 1,
            }
            assert_eq!(stage.ask(again), Some(answer.clone()), "wish {number}, dead after {effects} effects");
            assert_eq!(count(&stage, causes) - before, 1, "wish {number}, dead after {effects} effects");
            stage.crash();
            assert_eq!(stage.ask(third), Some(answer.clone()), "wish {number}, dead after {effects} effects");
            assert_eq!(count(&stage, causes) - before, 1, "wish {number}, dead after {effects} effects");
            stage.to_the_end();
        }
        assert!(lost > 0 && kept > 0, "wish {number} died before it was written and behind: {lost}, {kept}");
    }
}

fn stage_run(stage: &Stage) -> RunId {
    stage.call.state().sub_run
}

#[test]
fn a_twin_that_waits_behind_the_first_has_its_answer_and_no_effect() {
    let mut stage = blocked();
    let run = stage_run(&stage);
    stage.held = true;
    for body in [1, 1, 2] {
        assert_eq!(stage.ask(execute(run).stamped(stamp(1, body))), None, "its turn has not come");
    }
    stage.held = false;
    while stage.deliver() {}
    let answers: Vec<&Answer> = stage.answers.values().rev().take(3).collect();
    let reused = Answer::Commanded(Err(Refused::KeyReused));
    assert_eq!(answers, [&reused, &Answer::Commanded(Ok(())), &Answer::Commanded(Ok(()))]);
    assert_eq!(stage.run.view()["current_action"]["id"], "b", "it was executed once");
}

#[test]
fn another_key_and_another_day_are_another_wish_and_a_refusal_is_judged_anew() {
    let mut stage = blocked();
    let run = stage_run(&stage);
    let too_late = Command::Execute { current_action_id: Some("b".to_owned()), actions: None };
    let too_late = || Request::Command { run, command: too_late.clone() }.stamped(stamp(9, 1));
    assert_eq!(stage.ask(too_late()), Some(Answer::Commanded(Err(Refused::StaleAction))));
    assert_eq!(count(&stage, |fact| matches!(fact, Fact::Call(CallFact::Obeyed(_)))), 0);
    assert_eq!(stage.ask(execute(run).stamped(stamp(1, 1))), Some(Answer::Commanded(Ok(()))));
    assert_eq!(stage.ask(too_late()), Some(Answer::Commanded(Ok(()))), "by now it is so");
    assert_eq!(stage.run.view()["current_action"]["id"], "c");
    stage.now.wall_ms += KEPT_MS;
    assert_eq!(stage.ask(execute(run).stamped(stamp(1, 2))), Some(Answer::Commanded(Ok(()))));
    assert_eq!(stage.run.view()["status"], "ended");
}
