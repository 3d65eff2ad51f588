//! Files that are there whole or not at all.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::PkiError;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readers {
    /// Its owner: private keys.
    Owner,
    /// Everyone: certificates.
    Everyone,
}

impl Readers {
    pub(super) fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Everyone => 0o644,
        }
    }
}

/// Writes beside the file, then renames: a reader finds the old content or the new one, and a key is
/// never readable by others, not even for a moment.
pub(super) fn write(path: &Path, content: &[u8], readers: Readers) -> Result<(), PkiError> {
    let fail = |source| PkiError::File { path: path.to_owned(), source };
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(fail)?;
    }
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(readers.mode())
        .open(&beside)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // Nothing is lost if this fails too: the next run writes over it.
        let _ = fs::remove_file(&beside);
    }
    written.map_err(fail)
}

/// The permissions of group and others are the lowest bits of a mode.
const BITS_OF_OTHERS: u32 = 6;

/// Whether nobody but the owner may read the file.
pub(super) fn is_private(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode().trailing_zeros() >= BITS_OF_OTHERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_for_its_owner_alone_and_leaves_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/device.key");
        write(&path, b"secret", Readers::Owner).unwrap();
        assert!(is_private(&path));
        assert_eq!(fs::read(&path).unwrap(), b"secret");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_certificate_is_readable_by_everyone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("device.pem");
        write(&path, b"public", Readers::Everyone).unwrap();
        assert!(!is_private(&path));
    }

    #[test]
    fn a_path_that_cannot_be_written_is_named_in_the_error() {
        let directory = tempfile::tempdir().unwrap();
        let blocked = directory.path().join("file");
        write(&blocked, b"", Readers::Everyone).unwrap();
        let error = write(&blocked.join("below"), b"", Readers::Everyone).unwrap_err();
        assert!(error.to_string().contains("file/below"), "{error}");
    }
}
