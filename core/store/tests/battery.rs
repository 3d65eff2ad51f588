//! The same list for every store, and what only one on a disk can suffer.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use postern_identity::{Namespace, NamespaceName};
use postern_store::{Backend, Directory, Fault, LARGE, Memory, Options, StoreError, Write};
use tempfile::TempDir;

const OPTIONS: Options = Options { format: 3, fsync: false, max_pages: None };

type Records = BTreeMap<(u8, Vec<u8>), Vec<u8>>;

/// Something that can be closed, or killed, and opened again.
trait Place {
    fn open(&self) -> Box<dyn Backend>;
}

impl Place for Memory {
    fn open(&self) -> Box<dyn Backend> {
        Box::new(self.clone())
    }
}

impl Place for TempDir {
    fn open(&self) -> Box<dyn Backend> {
        let directory = Directory::open(self.path(), OPTIONS).unwrap();
        Box::new(directory.database(&Namespace::Global).unwrap())
    }
}

fn places() -> Vec<Box<dyn Place>> {
    vec![Box::new(Memory::default()), Box::new(TempDir::new().unwrap())]
}

fn put(table: u8, key: impl Into<Vec<u8>>, value: &[u8]) -> Write {
    Write { table, key: key.into(), value: Some(value.to_vec()) }
}

fn cut(table: u8, key: impl Into<Vec<u8>>) -> Write {
    Write { table, key: key.into(), value: None }
}

fn scan(store: &mut dyn Backend) -> Result<Records, StoreError> {
    let mut records = Records::new();
    let mut last = None;
    store.scan(&mut |record| {
        let place = (record.table, record.key.to_vec());
        assert!(last.as_ref().is_none_or(|last| *last < place), "in order");
        last = Some(place.clone());
        records.insert(place, record.value.to_vec());
        Ok(())
    })?;
    Ok(records)
}

fn number(n: u64) -> [u8; 8] {
    n.to_be_bytes()
}

#[test]
fn what_was_committed_is_there_after_opening_again_in_order_and_as_it_was_last() {
    for place in places() {
        let mut store = place.open();
        assert_eq!(scan(&mut *store).unwrap(), Records::new());
        store
            .commit(&[put(2, *b"b", b"1"), put(LARGE, number(9), b"nine"), put(2, *b"a", b""), put(1, *b"", b"e")])
            .unwrap();
        store
            .commit(&[put(2, *b"b", b"2"), cut(1, *b""), cut(7, *b"never"), put(LARGE, number(300), &vec![7; 100_000])])
            .unwrap();
        store.commit(&[]).unwrap();
        store.close().unwrap();
        let expected: Records = [
            ((LARGE, number(9).to_vec()), b"nine".to_vec()),
            ((LARGE, number(300).to_vec()), vec![7; 100_000]),
            ((2, b"a".to_vec()), Vec::new()),
            ((2, b"b".to_vec()), b"2".to_vec()),
        ]
        .into();
        assert_eq!(scan(&mut *place.open()).unwrap(), expected);
    }
}

#[test]
fn what_was_committed_is_there_though_nobody_closed_it() {
    for place in places() {
        let mut store = place.open();
        store.commit(&[put(2, *b"a", b"1")]).unwrap();
        drop(store);
        assert_eq!(scan(&mut *place.open()).unwrap().len(), 1);
    }
}

#[test]
fn a_reader_that_finds_a_record_impossible_ends_the_scan_and_is_quoted() {
    for place in places() {
        let mut store = place.open();
        store.commit(&[put(2, *b"a", b"1")]).unwrap();
        let error = store.scan(&mut |_| Err("a session without a client".to_owned())).unwrap_err();
        assert!(matches!(&error, StoreError::Damaged { what, .. } if what == "a session without a client"), "{error}");
    }
}

#[test]
fn without_room_nothing_of_the_batch_is_there_and_the_same_batch_passes_later() {
    let memory = Memory::default();
    let mut store = memory.open();
    memory.fail(Some(Fault::NoRoom));
    assert!(store.commit(&[put(2, *b"a", b"1")]).unwrap_err().is_no_room());
    memory.fail(None);
    store.commit(&[put(2, *b"a", b"1")]).unwrap();
    assert_eq!(scan(&mut *store).unwrap().len(), 1);

    let dir = TempDir::new().unwrap();
    let directory = Directory::open(dir.path(), Options { max_pages: Some(32), ..OPTIONS }).unwrap();
    let mut store = directory.database(&Namespace::Global).unwrap();
    store.commit(&[put(LARGE, number(1), &vec![1; 60_000])]).unwrap();
    let batch = [put(2, *b"a", b"1"), put(LARGE, number(2), &vec![2; 90_000]), put(2, *b"b", b"1")];
    for _ in 0..3 {
        let error = store.commit(&batch).unwrap_err();
        assert!(error.is_no_room(), "{error}");
        assert_eq!(scan(&mut store).unwrap().len(), 1, "all or nothing");
    }
    store.commit(&[cut(LARGE, number(1))]).unwrap();
    store.commit(&batch).unwrap();
    assert_eq!(scan(&mut store).unwrap().len(), 3);
}

#[test]
fn each_namespace_has_its_own_records() {
    let dir = TempDir::new().unwrap();
    let directory = Directory::open(dir.path(), OPTIONS).unwrap();
    assert_eq!(directory.namespaces().unwrap(), []);
    let acme = Namespace::Tenant(NamespaceName::new("acme").unwrap());
    let mut global = directory.database(&Namespace::Global).unwrap();
    let mut tenant = directory.database(&acme).unwrap();
    global.commit(&[put(2, *b"a", b"global")]).unwrap();
    assert_eq!(scan(&mut tenant).unwrap(), Records::new());
    tenant.commit(&[put(2, *b"b", b"acme")]).unwrap();
    assert_eq!(scan(&mut global).unwrap().len(), 1);
    assert_eq!(directory.namespaces().unwrap(), [Namespace::Global, acme]);
}
