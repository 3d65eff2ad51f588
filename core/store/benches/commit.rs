//! What it costs to keep messages: processor and wall time of one message that is written, referred to by one session,
//! and taken away again when it was acknowledged, for batches as a realm has them.
//!
//! `cargo bench -p postern-store`

use std::time::Instant;

use postern_identity::Namespace;
use postern_store::{Backend, Directory, LARGE, Options, Write};

const MESSAGES: u64 = 20_000;
const PAYLOAD: usize = 200;

fn main() {
    println!("messages of {PAYLOAD} bytes; each is two records put and two taken away");
    for fsync in [false, true] {
        for batch in [1, 10, 100] {
            let messages = if fsync { MESSAGES / 20 } else { MESSAGES };
            let (wall, cpu) = run(fsync, batch, messages);
            println!(
                "fsync {fsync:5}  {batch:3} messages in a batch  {:7.1} µs wall  {:6.1} µs processor each",
                wall * 1e6,
                cpu * 1e6
            );
        }
    }
}

fn run(fsync: bool, batch: u64, messages: u64) -> (f64, f64) {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options { format: 1, fsync, max_pages: None };
    let directory = Directory::open(dir.path(), options).expect("a store");
    let mut store = directory.database(&Namespace::Global).expect("a database");
    let (began, cpu) = (Instant::now(), processor());
    for first in (0..messages).step_by(usize::try_from(batch).expect("a small number")) {
        let of = |put: bool| (first..first + batch).flat_map(move |n| records(n, put)).collect::<Vec<_>>();
        store.commit(&of(true)).expect("room");
        store.commit(&of(false)).expect("room");
    }
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let each = messages as f64;
    (began.elapsed().as_secs_f64() / each, (processor() - cpu) / each)
}

fn records(n: u64, put: bool) -> [Write; 2] {
    let key = n.to_be_bytes().to_vec();
    let delivery = [&7_u64.to_be_bytes()[..], &key].concat();
    let value = |bytes: usize| put.then(|| vec![7; bytes]);
    [Write { table: LARGE, key, value: value(PAYLOAD) }, Write { table: 3, key: delivery, value: value(30) }]
}

/// Processor time of this process in seconds: proc(5), fields 14 and 15, in ticks of 10 ms.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().expect("a number") / 100.0).sum()
}
