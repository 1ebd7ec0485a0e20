//! Servers over real sockets and the wire to them, for tests and benches.
#![allow(dead_code)] // each of them needs its own part

pub mod browser;
pub mod certified;
pub mod crowd;
pub mod exposition;
pub mod faulty;
pub mod fits;
pub mod handover;
pub mod hosted;
pub mod kill;
pub mod listen;
pub mod proxy;
pub mod receiver;
pub mod relay;
pub mod served;
pub mod sink;
pub mod volume;
pub mod wire;

use std::time::{Duration, Instant};

/// Nothing that is asked for takes longer, unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again until there is an answer. The next question comes behind the last answer, which comes from a server and
/// takes its time; a timer between them would only make every test as slow as its slowest guess.
#[allow(clippy::disallowed_methods)] // it gives up in real time
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(answer) = ask().await {
            return answer;
        }
        // What is asked for may come to be on this very thread.
        tokio::task::yield_now().await;
    }
    panic!("this did not come to be within a minute: {what}");
}
