//! What no plugin should do.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::bindings::postern::gate::types::{Connection, Failure};
use crate::bindings::postern::gate::{bundle_directory, clock, log};

/// What a call may tell of itself.
pub(crate) struct Report<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) server_name: Option<&'a str>,
    pub(crate) certificates: usize,
}

static CALLS: AtomicU32 = AtomicU32::new(0);
static REMEMBERED: Mutex<Option<String>> = Mutex::new(None);

/// Behaviours that end in a refusal whose detail says what the guest saw.
pub(crate) fn told(what: &str, report: &Report<'_>) -> Option<String> {
    match what {
        "count" => Some(format!("call {}", CALLS.fetch_add(1, Ordering::Relaxed) + 1)),
        "remember" => {
            let name = report.server_name.unwrap_or("nobody").to_owned();
            let mut remembered = REMEMBERED.lock().ok()?;
            Some(remembered.replace(name).unwrap_or_else(|| "nothing".to_owned()))
        }
        "report" => Some(format!(
            "{} {} {} {} certificates, namespaces {:?}, default {:?}",
            report.conn.listener,
            report.conn.peer_ip,
            report.server_name.unwrap_or("-"),
            report.certificates,
            bundle_directory::namespaces(),
            bundle_directory::default().map(|info| info.ref_.name),
        )),
        _ => None,
    }
}

/// Does what the behaviour says and, where that was survived, fails.
pub(crate) fn commit(behaviour: &Value) -> Failure {
    let number = |key: &str| usize::try_from(behaviour[key].as_u64().unwrap_or(0)).unwrap_or(usize::MAX);
    let said = behaviour["text"].as_str().unwrap_or_default();
    match behaviour["do"].as_str().unwrap_or_default() {
        "spin" => spin(),
        "work" => work(number("rounds")),
        "copy-memory" => copy_memory(),
        "recurse" => drop(recurse(number("depth"), [1; 64])),
        "panic" => panic!("{said}"),
        "grow-memory" => return Failure::Internal(grown()),
        "allocate" => drop(std::hint::black_box(vec![1_u8; number("bytes")])),
        "long-text" => return Failure::Internal("x".repeat(number("bytes"))),
        "log" => (0..number("times")).for_each(|_| log::write(log::Level::Info, said)),
        "log-long" => log::write(log::Level::Info, &"x".repeat(number("bytes"))),
        "host-calls" => {
            for _ in 0..number("times") {
                std::hint::black_box(clock::now_unix_ms());
            }
        }
        "transient" => return Failure::Transient(said.to_owned()),
        "misconfigured" => return Failure::Misconfigured(said.to_owned()),
        _ => {}
    }
    Failure::Internal("survived".to_owned())
}

fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

fn work(rounds: usize) {
    let sum = (0..rounds).fold(0_usize, |sum, n| std::hint::black_box(sum.wrapping_mul(31).wrapping_add(n)));
    std::hint::black_box(sum);
}

/// Bulk operations are looked at only when they begin.
fn copy_memory() -> ! {
    let mut bytes = vec![1_u8; 12 << 20];
    let half = bytes.len() / 2;
    loop {
        bytes.copy_within(..half, half);
        std::hint::black_box(&mut bytes);
    }
}

#[inline(never)]
fn recurse(depth: usize, room: [u64; 64]) -> u64 {
    let mut next = std::hint::black_box(room);
    next[depth % 64] += 1;
    if depth == 1 { next[0] } else { recurse(depth.wrapping_sub(1), next).wrapping_add(std::hint::black_box(next)[1]) }
}

/// Page by page to the limit, and then 4 GiB at once.
fn grown() -> String {
    #[cfg(target_arch = "wasm32")]
    {
        use core::arch::wasm32::{memory_grow, memory_size};
        while memory_grow(0, 1) != usize::MAX {}
        let all = memory_grow(0, 65_535);
        format!("{} pages, then {}", memory_size(0), if all == usize::MAX { "refused" } else { "granted" })
    }
    #[cfg(not(target_arch = "wasm32"))]
    String::new()
}
