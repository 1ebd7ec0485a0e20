//! Servers over real sockets and the wire to them, for tests and benches.
#![allow(dead_code)] // each of them needs its own part

pub mod crowd;
pub mod hosted;
pub mod kill;
pub mod served;
pub mod sink;
pub mod volume;
pub mod wire;

use std::time::Duration;

/// Asks again and again until there is an answer; a hundred times a second, for at most a minute.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let mut again = tokio::time::interval(Duration::from_millis(10));
    for _ in 0..6000 {
        again.tick().await;
        if let Some(answer) = ask().await {
            return answer;
        }
    }
    panic!("this did not come to be within a minute: {what}");
}
