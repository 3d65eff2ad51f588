//! What a database on a disk can suffer: kills, damage, other processes, other versions.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use postern_identity::{Namespace, NamespaceName};
use postern_store::{Backend, Directory, LARGE, Options, Sqlite, StoreError, Write};
use tempfile::TempDir;

const OPTIONS: Options = Options { format: 3, fsync: false, max_pages: None };
const SAFE: Options = Options { fsync: true, ..OPTIONS };

type Records = BTreeMap<(u8, Vec<u8>), Vec<u8>>;

/// Change `n`: one large record and one small one.
fn change(n: u64) -> [Write; 2] {
    let key = n.to_be_bytes().to_vec();
    [
        Write { table: LARGE, key: key.clone(), value: Some(vec![u8::try_from(n % 251).unwrap(); 3000]) },
        Write { table: 4, key, value: Some(b"reference".to_vec()) },
    ]
}

fn after(changes: u64) -> Records {
    let writes = (0..changes).flat_map(change);
    writes.map(|write| ((write.table, write.key), write.value.unwrap())).collect()
}

fn open(dir: &Path, options: Options) -> Result<Sqlite, StoreError> {
    Directory::open(dir, options)?.database(&Namespace::Global)
}

fn read(dir: &Path, options: Options) -> Result<(Records, u64), StoreError> {
    let mut store = open(dir, options)?;
    let mut records = Records::new();
    store.scan(&mut |record| {
        records.insert((record.table, record.key.to_vec()), record.value.to_vec());
        Ok(())
    })?;
    Ok((records, store.lost()))
}

fn database(dir: &Path) -> PathBuf {
    dir.join("store/global.db")
}

fn log(dir: &Path) -> PathBuf {
    dir.join("store/global.db-wal")
}

/// A directory as a killed process leaves it, with so many changes in the log.
fn killed_after(changes: u64) -> TempDir {
    let (dir, copy) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut store = open(dir.path(), OPTIONS).unwrap();
    for n in 0..changes {
        store.commit(&change(n)).unwrap();
    }
    fs::create_dir_all(copy.path().join("store")).unwrap();
    for path in [database, log] {
        fs::copy(path(dir.path()), path(copy.path())).unwrap();
    }
    copy
}

fn closed_after(changes: u64) -> TempDir {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path(), OPTIONS).unwrap();
    for n in 0..changes {
        store.commit(&change(n)).unwrap();
    }
    Box::new(store).close().unwrap();
    assert!(!log(dir.path()).exists(), "all is in the database");
    dir
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

fn cut(path: &Path, bytes: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(bytes).unwrap();
}

/// Not a test: what the killed child does. It says each change that was committed.
#[test]
#[ignore = "run by killing_the_process_loses_nothing_that_was_committed"]
fn child() {
    let dir = PathBuf::from(std::env::var_os("POSTERN_STORE_CHILD").unwrap());
    let mut store = open(&dir, OPTIONS).unwrap();
    let mut out = std::io::stdout();
    for n in 0.. {
        store.commit(&change(n)).unwrap();
        writeln!(out, "\ncommitted {n}").unwrap();
    }
}

#[test]
fn killing_the_process_loses_nothing_that_was_committed() {
    // The last of them is beyond a checkpoint, which comes after some 16 MiB.
    for kill_after in [1, 40, 5000] {
        let dir = TempDir::new().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env("POSTERN_STORE_CHILD", dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut committed = lines.by_ref().filter(|line| line.starts_with("committed")).take(kill_after).count();
        assert_eq!(committed, kill_after);
        child.kill().unwrap();
        child.wait().unwrap();
        committed += lines.filter(|line| line.starts_with("committed")).count();
        let (records, lost) = read(dir.path(), SAFE).unwrap();
        let found = u64::try_from(records.len()).unwrap() / 2;
        assert!(found >= u64::try_from(committed).unwrap(), "{found} of {committed}");
        assert!(lost <= 1, "{lost}: at most the one that was being written, which nobody was told of");
        assert_eq!(records, after(found), "whole changes, and none left out");
    }
}

#[test]
fn a_changed_byte_of_a_database_is_found_or_means_nothing() {
    let dir = closed_after(40);
    let sound = fs::read(database(dir.path())).unwrap();
    let mut refused = 0;
    for at in (0..sound.len()).step_by(397) {
        flip(&database(dir.path()), at);
        match read(dir.path(), OPTIONS) {
            Ok((records, _)) => assert_eq!(records, after(40), "byte {at}"),
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains("global.db"), "{error}");
            }
        }
        fs::write(database(dir.path()), &sound).unwrap();
        let _ = fs::remove_file(log(dir.path()));
    }
    assert!(refused > sound.len() / 397 / 2, "{refused}: nearly all bytes are of records");
    assert_eq!(read(dir.path(), OPTIONS).unwrap().0, after(40), "the valid neighbour");
}

#[test]
fn a_database_that_is_cut_short_is_refused() {
    let dir = closed_after(40);
    let whole = fs::read(database(dir.path())).unwrap();
    let length = whole.len() as u64;
    for bytes in [0, 100, 4096, length / 2, length - 4096, length - 1] {
        cut(&database(dir.path()), bytes);
        let error = read(dir.path(), OPTIONS).unwrap_err();
        assert!(error.to_string().contains("global.db"), "cut to {bytes}: {error}");
        fs::write(database(dir.path()), &whole).unwrap();
        let _ = fs::remove_file(log(dir.path()));
    }
}

#[test]
fn a_log_that_is_cut_short_loses_its_end_alone() {
    let dir = killed_after(30);
    let length = fs::metadata(log(dir.path())).unwrap().len();
    cut(&log(dir.path()), length - 100);
    assert_eq!(read(dir.path(), SAFE).unwrap().0, after(29));
}

#[test]
fn damage_in_the_middle_of_a_log_is_never_silent() {
    let dir = killed_after(30);
    let length = fs::metadata(log(dir.path())).unwrap().len();
    let (database_bytes, log_bytes) = (fs::read(database(dir.path())).unwrap(), fs::read(log(dir.path())).unwrap());
    for at in [3, 20, usize::try_from(length / 3).unwrap(), usize::try_from(length / 2).unwrap()] {
        flip(&log(dir.path()), at);
        let error = read(dir.path(), SAFE).unwrap_err();
        assert!(matches!(&error, StoreError::Damaged { path, .. } if *path == log(dir.path())), "{error}");
        let (records, lost) = read(dir.path(), OPTIONS).unwrap();
        assert!(lost > 1, "byte {at}: somebody is told");
        assert_eq!(records, after(records.len() as u64 / 2), "what is left is one moment of the past");
        fs::write(database(dir.path()), &database_bytes).unwrap();
        fs::write(log(dir.path()), &log_bytes).unwrap();
    }
    assert_eq!(read(dir.path(), SAFE).unwrap(), (after(30), 0), "the valid neighbour");
}

#[test]
fn a_missing_file_is_missed() {
    let dir = killed_after(30);
    let log_bytes = fs::read(log(dir.path())).unwrap();
    fs::remove_file(log(dir.path())).unwrap();
    let error = read(dir.path(), OPTIONS).unwrap_err();
    assert!(error.to_string().contains("its log is missing"), "{error}");
    fs::write(log(dir.path()), log_bytes).unwrap();
    fs::remove_file(database(dir.path())).unwrap();
    let directory = Directory::open(dir.path(), OPTIONS).unwrap();
    for error in [directory.namespaces().err(), directory.database(&Namespace::Global).err()] {
        assert!(matches!(error, Some(StoreError::Damaged { .. })), "{error:?}");
    }
}

#[test]
fn a_database_is_opened_for_its_own_namespace_alone() {
    let dir = closed_after(1);
    fs::rename(database(dir.path()), dir.path().join("store/ns/acme.db")).unwrap();
    let acme = Namespace::Tenant(NamespaceName::new("acme").unwrap());
    let error = Directory::open(dir.path(), OPTIONS).unwrap().database(&acme).unwrap_err();
    assert!(matches!(&error, StoreError::Foreign { .. }), "{error}");
    assert!(error.to_string().contains("belongs to the namespace (global)"), "{error}");
}

#[test]
fn what_is_not_ours_is_refused_and_left_as_it_is() {
    let dir = TempDir::new().unwrap();
    fs::create_dir_all(dir.path().join("store/ns")).unwrap();
    let text = b"this is no database, and long enough to be looked at as if it were one ".repeat(20);
    fs::write(database(dir.path()), &text).unwrap();
    let error = open(dir.path(), OPTIONS).unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    assert_eq!(fs::read(database(dir.path())).unwrap(), text);
}

#[test]
fn a_newer_format_is_refused_and_an_older_one_is_not() {
    let dir = closed_after(2);
    let error = read(dir.path(), Options { format: 2, ..OPTIONS }).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 3, known: 2, .. }), "{error}");
    assert_eq!(read(dir.path(), Options { format: 4, ..OPTIONS }).unwrap().0, after(2));
}

#[test]
fn a_directory_is_one_brokers_at_a_time() {
    let dir = TempDir::new().unwrap();
    let first = Directory::open(dir.path(), OPTIONS).unwrap();
    let error = Directory::open(dir.path(), OPTIONS).unwrap_err();
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
    drop(first);
    Directory::open(dir.path(), OPTIONS).unwrap();
}

#[test]
fn files_are_for_the_broker_alone() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path(), OPTIONS).unwrap();
    store.commit(&change(0)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir.path().join("store")), 0o700);
    for path in [database(dir.path()), log(dir.path()), dir.path().join("store/lock")] {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_data_directory_that_cannot_be_made_is_named() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("data"), "a file").unwrap();
    let error = Directory::open(&dir.path().join("data"), OPTIONS).unwrap_err();
    assert!(error.to_string().contains("data/store"), "{error}");
}
