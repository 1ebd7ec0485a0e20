//! What all actions share that play something: waiting for the end of their sounds, and being cut short.

use super::{Done, Fault, Happened, Scene, Step};
use crate::scene::{ErrorClass, Op, Sound, SoundEnd};
use serde_json::{Value, json};

/// Begins sounds on the stream. Asynchronous ones are left to themselves.
pub fn begin(scene: &mut Scene<'_>, sounds: Vec<Sound>, asynchronous: bool) -> Step {
    for sound in sounds {
        scene.sound(sound);
    }
    if asynchronous {
        return Step::Done(Done::default());
    }
    scene.live.on_stream = true;
    Step::Wait { memory: Value::Null }
}

/// Whether a key cuts the action short and moves on.
pub fn is_barged(scene: &Scene<'_>) -> bool {
    scene.parameters.text("digits_handle") == Some("next")
}

pub fn resume(scene: &mut Scene<'_>, happened: &Happened<'_>) -> Result<Step, Fault> {
    match happened {
        Happened::Pressed(_) => {
            if is_barged(scene) && !scene.live.hushed {
                scene.live.hushed = true;
                scene.ops.push(Op::Hush);
            }
            Ok(Step::Stay)
        }
        Happened::Sounded { sound, heard_ms, how } => ended(scene, *sound, *heard_ms, how),
        Happened::Performed(_) | Happened::Recorded(_) | Happened::Fetched { .. } | Happened::Due => {
            Ok(Step::Stay)
        }
    }
}

fn ended(scene: &mut Scene<'_>, sound: u64, heard_ms: u64, how: &SoundEnd) -> Result<Step, Fault> {
    let live = &mut *scene.live;
    let Some(at) = live.sounds.iter().position(|own| *own == sound) else { return Ok(Step::Stay) };
    live.sounds.remove(at);
    live.heard_ms += heard_ms;
    match how {
        SoundEnd::Whole => {}
        SoundEnd::Cut => live.cut = true,
        SoundEnd::Stalled => {
            live.fault
                .get_or_insert_with(|| Fault::new(ErrorClass::Timeout, "the stream took no sound in time"));
        }
        SoundEnd::Failed { class, message } => {
            live.fault.get_or_insert_with(|| Fault::new(*class, message.clone()));
        }
    }
    if !live.sounds.is_empty() {
        return Ok(Step::Stay);
    }
    if live.cut {
        return Ok(Step::Cut(Done::with(json!({ "heard_ms": live.heard_ms }))));
    }
    match live.fault.take() {
        Some(fault) => Err(fault),
        None => Ok(Step::Done(Done::default())),
    }
}
