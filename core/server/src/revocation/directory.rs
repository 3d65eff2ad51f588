//! A directory of files with revocation lists.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_tls::RevocationList;

use super::file::{Look, WatchedFile};
use crate::stage::shown;

/// Most files that are looked at in one directory.
const MAX_FILES: usize = 1024;
/// Most bytes of all files of one directory.
const MAX_BYTES: u64 = 1024 * 1024 * 1024;
/// Most files of which it is told what is wrong with them.
const MAX_TOLD: usize = 8;

/// What is known of a directory.
#[derive(Default)]
pub(super) struct WatchedDirectory {
    files: BTreeMap<PathBuf, WatchedFile>,
    /// What is wrong with the directory itself.
    trouble: Option<String>,
}

impl WatchedDirectory {
    pub(super) fn lists(&self) -> impl Iterator<Item = &Arc<RevocationList>> {
        self.files.values().flat_map(WatchedFile::lists)
    }

    /// What is wrong with it and its files; files that are gone are what rotation leaves.
    pub(super) fn troubles(&self) -> Vec<String> {
        let in_files = self.files.values().filter(|file| !file.is_gone());
        let in_files = in_files.filter_map(|file| file.trouble().map(str::to_owned));
        let mut all = self.trouble.iter().cloned().chain(in_files);
        let mut told: Vec<String> = all.by_ref().take(MAX_TOLD).collect();
        if all.next().is_some() {
            told.push("and others".to_owned());
        }
        told
    }

    /// True if its lists have changed.
    pub(super) fn look(&mut self, path: &Path, look: Look) -> bool {
        let (found, trouble) = match entries(path) {
            Ok((found, _)) if found.is_empty() => {
                (found, Some(format!("the directory {} has no file", shown(path).display())))
            }
            Ok((found, bytes)) if found.len() > MAX_FILES || bytes > MAX_BYTES => {
                let count = found.len();
                let text = format!(
                    "the directory {} has {count} files of {bytes} bytes; at most {MAX_FILES} of {MAX_BYTES} are read",
                    shown(path).display()
                );
                (Vec::new(), Some(text))
            }
            Ok((found, _)) => (found, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        self.trouble = trouble;
        for path in found {
            self.files.entry(path).or_default();
        }
        let mut is_new = false;
        for (path, file) in &mut self.files {
            is_new |= file.look(path, look);
        }
        is_new | self.forget_what_is_gone()
    }

    /// A file that is gone is forgotten as soon as another one says as much as it did. Until then it counts: that all
    /// files were deleted must not open the door, nor shut it before their time.
    fn forget_what_is_gone(&mut self) -> bool {
        let remaining: Vec<Arc<RevocationList>> =
            self.files.values().filter(|file| !file.is_gone()).flat_map(|file| file.lists().to_vec()).collect();
        let is_replaced = |list: &Arc<RevocationList>| {
            remaining.iter().any(|other| other.is_of_the_same(list) && other.this_update() >= list.this_update())
        };
        let before = self.files.len();
        let too_many = before > 2 * MAX_FILES;
        self.files.retain(|_, file| !file.is_gone() || !too_many && !file.lists().iter().all(is_replaced));
        self.files.len() < before
    }
}

/// The files of a directory and their bytes, apart from hidden ones: those are how other programs write, and how
/// Kubernetes mounts.
fn entries(path: &Path) -> Result<(Vec<PathBuf>, u64), String> {
    let said = |error: std::io::Error| format!("the directory {} cannot be listed: {error}", shown(path).display());
    let (mut found, mut bytes) = (Vec::new(), 0);
    for entry in std::fs::read_dir(path).map_err(said)? {
        let entry = entry.map_err(said)?;
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let file = std::fs::metadata(entry.path()).ok().filter(|file| file.is_file() && !is_hidden);
        if let Some(file) = file {
            bytes += file.len();
            found.push(entry.path());
        }
    }
    Ok((found, bytes))
}
