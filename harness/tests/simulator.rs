//! Two hundred simulated worlds, or as many as `SEEDS` says. `cargo run --release -p holdline-harness --example simulate`
//! lives through as many as there is time for.

use holdline_harness::sim;

const SEEDS: u64 = 200;

#[test]
fn whatever_befalls_a_house_the_world_sees_what_the_contract_allows() {
    let seeds = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    for seed in 0..seeds {
        if let Err(failure) = sim::simulate(seed) {
            panic!("seed {seed} broke a rule: {}\n\n{}", failure.broken, failure.story);
        }
    }
}

#[test]
fn a_seed_is_the_same_world_every_time() {
    for seed in [3, 50, 121] {
        let told = sim::tell(&sim::story(seed)).0;
        assert!(told.contains("<- "), "seed {seed} is a world in which nothing happens:\n{told}");
        assert_eq!(told, sim::tell(&sim::story(seed)).0, "seed {seed}");
    }
}

#[test]
fn what_a_world_tells_can_be_pasted_and_told_again() {
    for seed in [7, 80, 150] {
        let told = sim::tell(&sim::story(seed)).0;
        assert_eq!(sim::tell(&told).0, told, "seed {seed}");
    }
}

#[test]
fn the_worlds_together_know_every_fault_and_most_actions() {
    let worlds: String = (0..SEEDS).map(sim::story).collect();
    let faults = [
        "disk takes",
        "disk fails",
        "others take",
        "others answer",
        "others are silent",
        "others lose their answer",
        "clock jumps",
        "clock jumps back",
        "server crashes\n",
        "server is down",
        "server crashes behind",
        "keeping",
        "drops the socket\n",
        "drops the socket behind",
        "loses a request",
        "repeats the last request",
        "network posts",
        "repeats callbacks",
        "reorders callbacks",
        "callbacks late",
        "loses completed",
        "api stops",
        "api hangs up",
        "caller hangs up",
    ];
    for fault in faults {
        assert!(worlds.contains(fault), "no world knows `{fault}`");
    }
    let actions = [
        "talk",
        "play",
        "beep",
        "echo",
        "sleep",
        "digits_receive",
        "digits_send",
        "speech_receive",
        "connect",
        "queue_join",
        "conference_join",
        "recording_start",
        "recording_stop",
        "http/request",
        "webhook_send",
        "subflow",
        "loop",
        "condition",
        "branch",
        "on-error",
        "hangup",
        "stop",
        "terminate",
        "block",
    ];
    for action in actions {
        assert!(
            worlds.contains(&format!("type: {action},")) || worlds.contains(&format!("type: {action}\n")),
            "no world performs `{action}`"
        );
    }
}
