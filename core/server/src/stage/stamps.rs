//! When files were written last, as far as the file system tells.
//!
//! Looking goes through symbolic links, so that a link that points elsewhere is a change too: so Kubernetes and others
//! swap a whole directory. It needs nothing of the file system but its metadata, and works on network file systems.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What differs between two states of a file, whether it was replaced or written in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Files and how they were found; none for one that is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stamps(BTreeMap<PathBuf, Option<Stamp>>);

impl Stamps {
    /// Looks at a file that is about to be read. What was noted of it before stays.
    pub(super) fn note(&mut self, path: &Path) {
        if !self.0.contains_key(path) {
            self.0.insert(path.to_owned(), look(path));
        }
    }

    /// The same files as they are now.
    pub(crate) fn now(&self) -> Self {
        Self(self.0.keys().map(|path| (path.clone(), look(path))).collect())
    }

    /// Whether they all are as they were found.
    pub(crate) fn are_current(&self) -> bool {
        self.0.iter().all(|(path, stamp)| look(path) == *stamp)
    }

    /// The files in a directory.
    pub(super) fn below(&self, dir: &Path) -> impl Iterator<Item = (&PathBuf, &Option<Stamp>)> {
        self.0.range(dir.to_owned()..).take_while(move |(path, _)| path.starts_with(dir))
    }

    /// Takes over what another one knows of the files in a directory.
    pub(super) fn copy_below(&mut self, dir: &Path, other: &Self) {
        self.0.extend(other.below(dir).map(|(path, stamp)| (path.clone(), *stamp)));
    }

    /// Adds the files that only `other` knows.
    pub(crate) fn absorb(&mut self, other: Self) {
        for (path, stamp) in other.0 {
            self.0.entry(path).or_insert(stamp);
        }
    }
}

/// How a file is found; none where it is not there.
pub(crate) fn look(path: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(path).ok()?;
    Some(Stamp {
        device: found.dev(),
        inode: found.ino(),
        bytes: found.len(),
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn whatever_happens_to_a_file_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for version in ["one", "two"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("file"), version).unwrap();
        }
        symlink("one", at("data")).unwrap();
        let path = at("data").join("file");
        let mut stamps = Stamps::default();
        stamps.note(&path);
        stamps.note(&at("absent"));
        let mut known = stamps.clone();
        let mut seen = |what: &str| {
            let now = stamps.now();
            assert_ne!(now, known, "{what}");
            assert_eq!(now, stamps.now(), "{what}: and then it is quiet");
            known = now;
        };
        symlink("two", at("new")).unwrap();
        fs::rename(at("new"), at("data")).unwrap();
        seen("a directory swapped by its link");
        fs::write(at("other"), "two").unwrap();
        fs::rename(at("other"), at("two/file")).unwrap();
        seen("a file of the same size in its place");
        fs::write(at("two/file"), "three").unwrap();
        seen("written in place");
        fs::remove_file(at("two/file")).unwrap();
        seen("removed");
        fs::write(at("absent"), "").unwrap();
        seen("one that was not there");
        fs::write(at("unwatched"), "").unwrap();
        assert_eq!(stamps.now(), known);
    }
}
