//! A world from a seed, as the text of a story: workflows, how the network behaves, what the caller does, and which of
//! all possible faults befall it.
//!
//! Not every seed has every fault: each kind is on or off for a seed as a whole, so that some worlds have nothing but a
//! torn disk, and others everything at once (swarm testing).

use super::dice::Dice;
use super::flows;
use std::fmt::Write;

/// The story of this seed, without what comes out.
pub fn story(seed: u64) -> String {
    let mut dice = Dice::new(seed);
    let swarm = Swarm::draw(&mut dice);
    let flows = flows::draw(&mut dice);
    let mut text = format!("# Seed {seed} of the simulator.\n{}", flows.text);
    head(&mut dice, &swarm, &mut text);
    // No throw of the dice: worlds that were made before stay as they were.
    if seed.is_multiple_of(3) {
        text.push_str("config events *\n");
    }
    text.push('\n');
    let mut cues = Vec::new();
    caller(&mut dice, &mut cues);
    swarm.faults(&mut dice, flows.called, &mut cues);
    cues.sort_by_key(|(at, _)| *at);
    for (at, cue) in cues {
        // Nobody can fail to write to a text in memory.
        let _ = writeln!(text, "{:>3}.{:03}  {cue}", at / 1000, at % 1000);
    }
    text
}

/// Which kinds of faults this world knows.
struct Swarm {
    callbacks: bool,
    requests: bool,
    sockets: bool,
    strangers: bool,
    crashes: bool,
    dies: bool,
    disk: bool,
    others: bool,
    clock: bool,
    people: bool,
}

/// Within this the caller and the faults have their say.
const SPAN_MS: u64 = 20_000;

impl Swarm {
    fn draw(dice: &mut Dice) -> Swarm {
        let mut on = |percent| dice.percent(percent);
        Swarm {
            callbacks: on(50),
            requests: on(40),
            sockets: on(40),
            strangers: on(25),
            crashes: on(40),
            dies: on(50),
            disk: on(50),
            others: on(50),
            clock: on(20),
            people: on(20),
        }
    }

    fn faults(&self, dice: &mut Dice, called: &str, cues: &mut Vec<(u64, String)>) {
        let mut put = |dice: &mut Dice, cue: String| {
            let at = moment(dice);
            cues.push((at, cue));
        };
        if self.callbacks {
            for _ in 0..dice.below(3) {
                let status = dice.one_of(
                    &["ringing", "in-progress", "queued", "completed", "busy", "Completed", "no-answer"],
                    "ringing",
                );
                put(dice, format!("network posts {status}"));
            }
        }
        if self.requests {
            for _ in 0..dice.between(1, 3) {
                let cue = match dice.below(5) {
                    0..=1 => "network repeats the last request".to_owned(),
                    2..=3 => format!("network repeats request {}", dice.between(1, 3)),
                    _ => "network loses a request".to_owned(),
                };
                put(dice, cue);
            }
        }
        if self.sockets {
            for _ in 0..dice.between(1, 2) {
                if dice.percent(60) {
                    let behind = dice.below(60);
                    put(dice, format!("network drops the socket behind {behind} messages"));
                } else {
                    put(dice, "network drops the socket".to_owned());
                }
            }
        }
        if self.strangers {
            self.strangers(dice, called, cues);
        }
        let mut put = |dice: &mut Dice, cue: String| {
            let at = moment(dice);
            cues.push((at, cue));
        };
        if self.crashes {
            for _ in 0..dice.between(1, 2) {
                let cue = match dice.below(3) {
                    0 => "server crashes".to_owned(),
                    1 => format!("server is down {}ms", dice.between(100, 4000)),
                    _ => format!("server is down {}s", dice.between(5, 40)),
                };
                put(dice, cue);
            }
        }
        if self.dies {
            for _ in 0..dice.between(1, 3) {
                let behind = dice.below(25);
                let keeps = match dice.below(3) {
                    0 => format!(" keeping {} batches", dice.between(1, 3)),
                    _ => String::new(),
                };
                let down = match dice.below(3) {
                    0 => format!(" for {}ms", dice.between(1, 3000)),
                    _ => String::new(),
                };
                put(dice, format!("server crashes behind {behind} effects{keeps}{down}"));
            }
        }
        if self.disk {
            let slow = dice.one_of(&[1, 5, 20, 150, 700, 2000], 5);
            let at = if dice.percent(50) { 0 } else { moment(dice) };
            cues.push((at, format!("disk takes {slow}ms")));
            if dice.percent(50) {
                let at = moment(dice);
                cues.push((at, format!("disk fails for {}ms", dice.between(50, 8000))));
            }
            if dice.percent(30) {
                cues.push((moment(dice), "disk takes 0ms".to_owned()));
            }
        }
        if self.others {
            let slow = dice.one_of(&[10, 100, 1000, 3000, 45_000], 100);
            let at = if dice.percent(50) { 0 } else { moment(dice) };
            cues.push((at, format!("others take {slow}ms")));
            for _ in 0..dice.between(1, 3) {
                let times = dice.between(1, 4);
                let cue = match dice.below(4) {
                    0 => format!(
                        "others answer {} {times} times",
                        dice.one_of(&[500, 503, 429, 404, 410], 503)
                    ),
                    1 => format!("others are silent {times} times"),
                    _ => format!("others lose their answer {times} times"),
                };
                let at = if dice.percent(50) { 0 } else { moment(dice) };
                cues.push((at, cue));
            }
        }
        if self.clock {
            let back = dice.one_of(&["", "back "], "");
            let by = dice.one_of(&["2s", "90s", "3600s", "90000s"], "2s");
            cues.push((moment(dice), format!("clock jumps {back}{by}")));
        }
        if self.people {
            let cue = dice.one_of(&["api hangs up", "api stops"], "api stops");
            cues.push((moment(dice), cue.to_owned()));
        }
    }

    /// Sockets and calls that nobody expects.
    fn strangers(&self, dice: &mut Dice, called: &str, cues: &mut Vec<(u64, String)>) {
        let began = moment(dice);
        match dice.below(6) {
            0 => {
                cues.push((began, "socket A opens with a wrong token".to_owned()));
            }
            1 => {
                let document = dice.between(1, 2);
                cues.push((began, format!("socket A opens document {document}")));
                if dice.percent(70) {
                    cues.push((began + dice.between(10, 6000), "socket A starts".to_owned()));
                }
                if dice.percent(50) {
                    cues.push((began + dice.between(10, 9000), "socket A closes".to_owned()));
                }
            }
            2 => {
                let times = dice.one_of(&[1, 5, 99, 100], 1);
                cues.push((began, format!("socket sends \"no json\" {times} times")));
            }
            3 => {
                // Another call, and what the network says of it.
                let call = "CA00000000000000000000000000000002";
                for _ in 0..dice.between(1, 3) {
                    let at = began + dice.below(4000);
                    cues.push((at, format!("network asks /webhooks/{called} of call {call}")));
                }
                if dice.percent(60) {
                    cues.push((began + dice.below(9000), format!("network posts completed of call {call}")));
                }
            }
            4 => {
                let path = dice.one_of(&["/ws", "/webhooks/story/wss", "/webhooks/main/wss"], "/ws");
                cues.push((began, format!("socket A opens {path}")));
                let of = dice.one_of(&["", " for CA00000000000000000000000000000003"], "");
                cues.push((began + dice.between(5, 3000), format!("socket A starts{of}")));
                if dice.percent(60) {
                    cues.push((began + dice.between(3000, 9000), "socket A stops".to_owned()));
                }
            }
            _ => {
                cues.push((
                    began,
                    "network posts completed of call CA00000000000000000000000000000009".to_owned(),
                ));
                cues.push((began + 1, format!("stranger asks /webhooks/{called}")));
            }
        }
    }
}

/// Close to the beginning more often than not: there most is decided in the least time.
fn moment(dice: &mut Dice) -> u64 {
    let span = dice.one_of(&[40, 1500, 6000, SPAN_MS], SPAN_MS);
    dice.below(span)
}

fn head(dice: &mut Dice, swarm: &Swarm, text: &mut String) {
    let mut line = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    // A frame every 20 ms, as on a real line, costs the most and shows little more.
    if dice.percent(95) {
        let every = dice.one_of(&["1s", "1s", "500ms", "200ms"], "1s");
        line(&format!("network sends silence every {every}"));
    }
    match dice.below(4) {
        0 => line("network on_abrupt_close action"),
        1 => line("network on_abrupt_close end"),
        _ => {}
    }
    if swarm.callbacks {
        if dice.percent(40) {
            line("network repeats callbacks");
        }
        if dice.percent(40) {
            line("network reorders callbacks");
        }
        if dice.percent(40) {
            line(&format!("network callbacks late {}s", dice.between(1, 30)));
        }
        for event in ["initiated", "ringing", "answered", "completed"] {
            if dice.percent(20) {
                line(&format!("network loses {event}"));
            }
        }
        if dice.percent(10) {
            line("network sends no callbacks");
        }
    }
    if dice.percent(15) {
        line("network has no fallback");
    }
    line("far +14155550111 answers after 2s talks 3s");
    line("far +14155550112 busy");
    line("far +14155550113 never answers");
    line(if dice.percent(60) {
        "far support answers after 5s talks 3s"
    } else {
        "far support never answers"
    });
    line("far room answers after 1s talks 4s");
    line(&format!("config max_duration {}s", dice.one_of(&[240, 240, 120, 25], 240)));
    if dice.percent(30) {
        line(&format!("config return_grace {}s", dice.between(2, 12)));
    }
    if dice.percent(20) {
        line(&format!("config idle_timeout {}s", dice.between(2, 30)));
    }
    if dice.percent(40) {
        line("config local_speech true");
    }
    if dice.percent(10) {
        line("config max_calls 1");
    }
    if dice.percent(10) {
        line("config bare_streams true");
        line("config default_workflow story");
    }
}

fn caller(dice: &mut Dice, cues: &mut Vec<(u64, String)>) {
    for _ in 0..dice.below(5) {
        let keys = dice.one_of(&["1", "2", "12", "#", "3w4", "1#"], "1");
        cues.push((moment(dice), format!("caller presses {keys}")));
    }
    if dice.percent(25) {
        cues.push((moment(dice), "caller says \"yes please\"".to_owned()));
    }
    if dice.percent(25) {
        cues.push((moment(dice), "caller plays tone 440 1s".to_owned()));
    }
    // Somebody who never hangs up is left to the call's own limits.
    if dice.percent(80) {
        let at = if dice.percent(40) { moment(dice) } else { dice.between(5000, 60_000) };
        cues.push((at, "caller hangs up".to_owned()));
    }
}
