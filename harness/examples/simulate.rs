//! Simulates many seeds: `cargo run --release -p holdline-harness --example simulate -- --seeds 100000 --from 0`.
//!
//! Two threads share the seeds, or as many as `--threads` says. A failure is printed with its seed and the story that
//! shows it; the process then ends with 1.

#![allow(clippy::disallowed_methods)] // it tells how long it took, in real time

use holdline_harness::sim;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

struct Options {
    from: u64,
    seeds: u64,
    threads: u64,
    /// Tell the story of one seed, and nothing else.
    show: Option<u64>,
    /// Perform this file, and tell what comes out.
    play: Option<String>,
    /// Stop after so many failures.
    failures: u64,
}

fn options() -> Result<Options, String> {
    let mut options = Options { from: 0, seeds: 1000, threads: 2, show: None, play: None, failures: 1 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("expected a value after {word}"))?;
        if word == "--play" {
            options.play = Some(value);
            continue;
        }
        let value = value.parse::<u64>().map_err(|_| format!("expected a number, got `{value}`"))?;
        match word.as_str() {
            "--from" => options.from = value,
            "--seeds" => options.seeds = value,
            "--threads" => options.threads = value.max(1),
            "--show" => options.show = Some(value),
            "--failures" => options.failures = value.max(1),
            other => {
                return Err(format!(
                    "expected --seeds, --from, --threads, --failures or --show, got {other}"
                ));
            }
        }
    }
    Ok(options)
}

fn show(story: &str) {
    let (told, verdict) = sim::tell(story);
    let verdict = verdict.map_or_else(|broken| broken.to_string(), |()| "as it must be".to_owned());
    println!("{told}\n{verdict}");
}

fn main() {
    let options = match options() {
        Ok(options) => options,
        Err(why) => {
            eprintln!("{why}");
            std::process::exit(2);
        }
    };
    if let Some(file) = options.play {
        match std::fs::read_to_string(&file) {
            Ok(story) => show(&story),
            Err(why) => eprintln!("{file}: {why}"),
        }
        return;
    }
    if let Some(seed) = options.show {
        show(&sim::story(seed));
        return;
    }
    // A panic is a failure like any other, and told with its story.
    std::panic::set_hook(Box::new(|_| {}));
    let began = Instant::now();
    let (next, failed) = (AtomicU64::new(options.from), AtomicU64::new(0));
    let end = options.from + options.seeds;
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                while failed.load(Ordering::Relaxed) < options.failures {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    if let Err(failure) = sim::simulate(seed) {
                        failed.fetch_add(1, Ordering::Relaxed);
                        println!("seed {seed} broke a rule: {}\n\n{}", failure.broken, failure.story);
                    }
                }
            });
        }
    });
    let seconds = began.elapsed().as_secs_f64();
    let done = next.load(Ordering::Relaxed).min(end) - options.from;
    let failed = failed.load(Ordering::Relaxed);
    println!("{done} seeds in {seconds:.1} s, {:.0} a second, {failed} failed", done as f64 / seconds);
    if failed > 0 {
        std::process::exit(1);
    }
}
