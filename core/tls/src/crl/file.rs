//! A file with revocation lists: one in DER, or any number in PEM (RFC 7468, section 6).
//!
//! PEM is decoded in the buffer that the file was read into: a list of a million entries is not in memory twice.

use std::ops::Range;
use std::sync::Arc;

use base64ct::{Base64, Encoding};

use super::list::{CrlFault, RevocationList, UnusableList};

/// Longest file that is read, in bytes. A million entries with reasons and long serial numbers have 75 MB as PEM.
pub const MAX_CRL_BYTES: usize = 128 * 1024 * 1024;
/// Most lists in one file.
const MAX_LISTS: usize = 256;

/// Why a file is not one with revocation lists.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CrlFileFault {
    /// Nothing in it.
    #[error("the file is empty")]
    Empty,
    /// Longer than any honest file.
    #[error("the file has {found} bytes, at most {MAX_CRL_BYTES} are read")]
    TooLarge {
        /// Bytes found.
        found: usize,
    },
    /// Neither form.
    #[error("the file has no revocation list: it is not DER, and has no `-----BEGIN X509 CRL-----`")]
    NoList,
    /// A section that does not end.
    #[error("the PEM section that begins in line {line} has no matching END line; the file may be cut short")]
    Unfinished {
        /// Line of BEGIN, from 1.
        line: usize,
    },
    /// A section that is not base64.
    #[error("the PEM section that begins in line {line} is not valid base64")]
    Base64 {
        /// Line of BEGIN, from 1.
        line: usize,
    },
    /// More than any honest file has.
    #[error("the file has more than {MAX_LISTS} lists")]
    TooManyLists,
    /// One that is damaged stands for a file that is: nobody knows what else is missing.
    #[error("{0}")]
    Damaged(UnusableList),
}

/// What a file has.
#[derive(Debug, Default)]
pub struct CrlFile {
    /// The lists that can be used.
    pub lists: Vec<Arc<RevocationList>>,
    /// Those that cannot.
    pub unusable: Vec<UnusableList>,
}

impl CrlFile {
    /// Reads a file, which is kept as it is, or decoded in its place.
    ///
    /// # Errors
    /// [`CrlFileFault`] where it is not whole. A whole list that cannot be used is no error of the file.
    pub fn read(file: Vec<u8>) -> Result<Self, CrlFileFault> {
        if file.len() > MAX_CRL_BYTES {
            return Err(CrlFileFault::TooLarge { found: file.len() });
        }
        if file.trim_ascii().is_empty() {
            return Err(CrlFileFault::Empty);
        }
        // A list is a SEQUENCE, and longer than 127 bytes by its signature alone.
        let (bytes, parts) = if matches!(*file, [0x30, 0x80..=0xFF, ..]) {
            let whole = 0..file.len();
            (file, vec![whole])
        } else {
            decode(file)?
        };
        let bytes = Arc::new(bytes);
        let mut found = Self::default();
        for (index, part) in parts.into_iter().enumerate() {
            match RevocationList::read(&bytes, part, index + 1) {
                Ok(list) => found.lists.push(Arc::new(list)),
                Err(damaged @ UnusableList { fault: CrlFault::Malformed { .. }, .. }) => {
                    return Err(CrlFileFault::Damaged(damaged));
                }
                Err(unusable) => found.unusable.push(unusable),
            }
        }
        Ok(found)
    }
}

/// Turns PEM into the DER of its lists, one after the other, in the same buffer.
fn decode(mut file: Vec<u8>) -> Result<(Vec<u8>, Vec<Range<usize>>), CrlFileFault> {
    const BEGIN: &[u8] = b"-----BEGIN X509 CRL-----";
    const END: &[u8] = b"-----END X509 CRL-----";
    let mut parts = Vec::new();
    // The line and the place in the buffer where the open section began.
    let mut open: Option<(usize, usize)> = None;
    let (mut read, mut written, mut number) = (0, 0, 0);
    while read < file.len() {
        let end = file[read..].iter().position(|&byte| byte == b'\n').map_or(file.len(), |length| read + length);
        let line = file[read..end].trim_ascii();
        number += 1;
        let is_begin = line.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(line) == BEGIN;
        match open {
            None if is_begin && parts.len() == MAX_LISTS => return Err(CrlFileFault::TooManyLists),
            None if is_begin => open = Some((number, written)),
            None => {}
            Some((line, start)) if file[read..end].trim_ascii() == END => {
                let decoded = Base64::decode_in_place(&mut file[start..written]);
                let length = decoded.map_err(|_| CrlFileFault::Base64 { line })?.len();
                parts.push(start..start + length);
                (open, written) = (None, start + length);
            }
            Some((began, _)) if line.starts_with(b"-----") => return Err(CrlFileFault::Unfinished { line: began }),
            Some(_) => {
                let length = line.len();
                let start = read + (end - read - file[read..end].trim_ascii_start().len());
                // What is written has been read: base64 is longer than what it stands for.
                file.copy_within(start..start + length, written);
                written += length;
            }
        }
        read = end + 1;
    }
    match open {
        Some((line, _)) => Err(CrlFileFault::Unfinished { line }),
        None if parts.is_empty() => Err(CrlFileFault::NoList),
        None => {
            file.truncate(written);
            file.shrink_to_fit();
            Ok((file, parts))
        }
    }
}
