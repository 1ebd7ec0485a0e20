//! A slice of the bench of the same name: many calls over real sockets, a few seconds long.

mod support;

use std::time::Duration;

use support::crowd::Crowd;

#[test]
fn a_crowd_is_served_exactly_one_panic_touches_one_call_and_nothing_is_left() {
    // As the server does: a backtrace takes a tenth of a second, and every call of the thread would hear it.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let crowd = Crowd { calls: 100, speaks: Duration::from_secs(3), plays: Duration::from_secs(3) };
    let report = runtime.block_on(crowd.live());
    println!("{report}");
    // All of it came. Its pace is asserted where nothing else runs (`cargo bench --bench crowd`) and under told time: here
    // a busy machine would decide.
    assert_eq!(report.pace.frames, 150, "{:?}", report.pace);
}
