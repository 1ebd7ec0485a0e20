//! What the system says of this process. Where there is no `/proc` it says nothing.

use std::fs;
use std::sync::LazyLock;

use holdline_core::metric::{self, Family, Page};

/// The kernel tells processor time to processes in hundredths of a second, whatever its own clock.
const TICKS_A_SECOND: f64 = 100.0;

static BEGAN: LazyLock<Option<f64>> = LazyLock::new(began);

pub fn gather(page: &mut Page) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let kibibytes = |name: &str| field(name).map(|count| count.saturating_mul(1024));
    let numbers: [(&'static Family, Option<u64>); 5] = [
        (&metric::PROCESS_RESIDENT, kibibytes("VmRSS")),
        (&metric::PROCESS_VIRTUAL, kibibytes("VmSize")),
        (&metric::PROCESS_THREADS, field("Threads")),
        (&metric::PROCESS_FDS, fs::read_dir("/proc/self/fd").ok().map(|open| open.count() as u64)),
        (&metric::PROCESS_FDS_MAX, fds_max()),
    ];
    for (family, number) in numbers {
        if let Some(number) = number {
            page.count(family, &[], number);
        }
    }
    if let (Some(user), Some(system)) = (stat(11), stat(12)) {
        page.add(&metric::PROCESS_CPU, &[], (user + system) / TICKS_A_SECOND);
    }
    if let Some(began) = *BEGAN {
        page.add(&metric::PROCESS_START, &[], began);
    }
}

/// A field of `/proc/self/stat`, counted behind the name, which may hold anything, in its brackets.
fn stat(place: usize) -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(place)?.parse().ok()
}

fn began() -> Option<f64> {
    let system = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + stat(19)? / TICKS_A_SECOND)
}

pub fn fds_max() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
