//! H-08: what a revocation list with a million entries costs, in memory and in each handshake, beside one with one entry.
//!
//! `cargo bench -p postern-tls --bench crl`. The list is made in a process of its own, so that what is measured holds
//! nothing but the list.

#![allow(clippy::unwrap_used, missing_docs, reason = "a program to look at, not one to rely on")]
#![allow(clippy::cast_precision_loss, clippy::print_stdout, reason = "ratios are read by people")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use postern_identity::CertFacts;
use postern_tls::{CrlFile, Outdated, Revocation, RevocationList};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa, KeyIdMethod,
    KeyPair, RevocationReason, RevokedCertParams, SerialNumber, date_time_ymd,
};

const ENTRIES: u64 = 1_000_000;
/// 2026-11-23.
const NOW: i64 = 1_795_392_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().position(|argument| argument == "measure") {
        Some(at) => measure(&arguments[at + 1]),
        None if arguments.iter().any(|argument| argument == "--test") => {}
        None => make(),
    }
}

/// Writes an authority, a device, and lists of one entry and of a million, and measures them in a new process.
fn make() {
    let dir = std::env::temp_dir().join(format!("postern-crl-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Fleet");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let device = CertificateParams::default().signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
    std::fs::write(dir.join("ca"), issuer.der()).unwrap();
    std::fs::write(dir.join("device"), device.der()).unwrap();
    for (name, count) in [("one", 1), ("large", ENTRIES)] {
        // As authorities make them: 16 bytes that say nothing.
        let serial = |number: u64| {
            let low = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let bytes: Vec<u8> = [low.to_be_bytes(), (!low).rotate_left(17).to_be_bytes()].concat();
            SerialNumber::from(bytes)
        };
        let entry = |number| RevokedCertParams {
            serial_number: serial(number),
            revocation_time: date_time_ymd(2026, 10, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 11, 1),
            next_update: date_time_ymd(2036, 11, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: (1..=count).map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&issuer).unwrap();
        std::fs::write(dir.join(format!("{name}.der")), list.der()).unwrap();
        std::fs::write(dir.join(format!("{name}.pem")), list.pem().unwrap()).unwrap();
    }
    let own = std::env::current_exe().unwrap();
    for form in ["der", "pem"] {
        let ran = std::process::Command::new(&own).arg("measure").arg(dir.join(form)).status().unwrap();
        assert!(ran.success());
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

/// `path` is the directory, and the form as the last part.
fn measure(path: &str) {
    let (dir, form) = path.rsplit_once('/').unwrap();
    let read = |name: &str| std::fs::read(format!("{dir}/{name}")).unwrap();
    let facts = |name: &str| Arc::new(CertFacts::from_der(&read(name)).unwrap());
    let path = [facts("device"), facts("ca")];
    let load = |name: &str| CrlFile::read(read(&format!("{name}.{form}"))).unwrap().lists;

    let one = revocation(load("one"), &path);
    let before = resident_bytes();
    let began = Instant::now();
    let list = load("large");
    let parsed = began.elapsed();
    let (entries, own) = (list[0].entries(), list[0].memory_bytes());
    let large = revocation(list, &path);
    let loaded = began.elapsed();
    let grown = resident_bytes().saturating_sub(before);
    let file = std::fs::metadata(format!("{dir}/large.{form}")).unwrap().len();
    println!("{entries} entries as {form}: a file of {} MiB", file >> 20);
    println!("  read in {parsed:.2?}, verified and in force after {loaded:.2?}");
    println!("  memory of the list    {:.2} of the file", own as f64 / file as f64);
    println!("  resident memory       {:.2} of the file", grown as f64 / file as f64);
    println!("  highest while loading {:.2} of the file", highest_bytes().saturating_sub(before) as f64 / file as f64);

    let (small, big) = (judging(&one, &path), judging(&large, &path));
    println!("  a verdict by one entry {small:.2?}, by {entries} {big:.2?}: {:.2}", ratio(big, small));
    let swap = || _ = large.replace(load("large"));
    let (calm, swapped) = (p99(&large, &path, || {}), p99(&large, &path, swap));
    println!(
        "  99 % of verdicts within {calm:.2?}, with a new list each second {swapped:.2?}: {:.2}",
        ratio(swapped, calm)
    );
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}

fn revocation(lists: Vec<Arc<RevocationList>>, path: &[Arc<CertFacts>]) -> Revocation {
    let revocation = Revocation::new(Outdated::Refuse);
    revocation.replace(lists);
    revocation.judge(path, NOW).unwrap();
    revocation
}

/// The mean time of one verdict.
fn judging(revocation: &Revocation, path: &[Arc<CertFacts>]) -> Duration {
    const TIMES: u32 = 20_000;
    let began = Instant::now();
    for _ in 0..TIMES {
        revocation.judge(path, NOW).unwrap();
    }
    began.elapsed() / TIMES
}

/// Of 500 verdicts a second for five seconds, while something is done each second in another thread.
fn p99(revocation: &Revocation, path: &[Arc<CertFacts>], each_second: impl Fn() + Sync) -> Duration {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                each_second();
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        let mut took: Vec<Duration> = (0..2_500)
            .map(|_| {
                std::thread::sleep(Duration::from_millis(2));
                let began = Instant::now();
                revocation.judge(path, NOW).unwrap();
                began.elapsed()
            })
            .collect();
        done.store(true, Ordering::Relaxed);
        took.sort_unstable();
        took[took.len() * 99 / 100]
    })
}

fn resident_bytes() -> u64 {
    status("VmRSS:")
}

fn highest_bytes() -> u64 {
    status("VmHWM:")
}

fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}
