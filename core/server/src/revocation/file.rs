//! One file with revocation lists, read again when it has changed.

use std::path::Path;
use std::sync::Arc;

use postern_tls::RevocationList;
use postern_tls::crl::{CrlFile, MAX_CRL_BYTES};

use crate::stage::stamps::{self, Stamp};
use crate::stage::{read_file, shown};

/// What is known of a file.
#[derive(Default)]
pub(super) struct WatchedFile {
    /// At the last look.
    seen: Option<Stamp>,
    /// When it was read.
    read: Option<Stamp>,
    lists: Vec<Arc<RevocationList>>,
    /// What is wrong with it as it is now.
    trouble: Option<String>,
}

/// How a look at a file is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// The first one: as it is.
    First,
    /// A later one: a file that has just changed may be half written, and is read when it did not change since the look
    /// before.
    Again,
}

impl WatchedFile {
    /// The lists that it had when it last was good.
    pub(super) fn lists(&self) -> &[Arc<RevocationList>] {
        &self.lists
    }

    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    pub(super) fn is_gone(&self) -> bool {
        self.seen.is_none()
    }

    /// True if its lists have changed.
    pub(super) fn look(&mut self, path: &Path, look: Look) -> bool {
        let stamp = stamps::look(path);
        if stamp.is_none() {
            (self.seen, self.read) = (None, None);
            // If it is there by now, the next look finds it.
            self.trouble = read_file(path, MAX_CRL_BYTES as u64).err();
            return false;
        }
        let is_settled = stamp == self.seen || look == Look::First;
        self.seen = stamp;
        if !is_settled || stamp == self.read {
            return false;
        }
        self.read = stamp;
        match read_file(path, MAX_CRL_BYTES as u64) {
            Ok(bytes) => self.take(path, bytes),
            Err(why) => {
                self.trouble = Some(why);
                false
            }
        }
    }

    fn take(&mut self, path: &Path, bytes: Vec<u8>) -> bool {
        let told = |what: String| Some(format!("{}: {what}", shown(path).display()));
        match read_lists(bytes) {
            Ok((lists, doubts)) => {
                self.trouble = if doubts.is_empty() { None } else { told(doubts.join("; ")) };
                let is_new = lists != self.lists;
                if is_new {
                    self.lists = lists;
                }
                is_new
            }
            Err(why) => {
                self.trouble = told(why);
                false
            }
        }
    }
}

/// The lists of a file or an answer, at least one, and which others it has that cannot be used; or why there is none.
pub(super) fn read_lists(bytes: Vec<u8>) -> Result<(Vec<Arc<RevocationList>>, Vec<String>), String> {
    let file = CrlFile::read(bytes).map_err(|fault| fault.to_string())?;
    let doubts: Vec<String> = file.unusable.iter().map(ToString::to_string).collect();
    if file.lists.is_empty() { Err(doubts.join("; ")) } else { Ok((file.lists, doubts)) }
}
