//! Looks through the log of a database before the database does.
//!
//! `SQLite` takes the changes of its log up to the first that is not sound and is silent about those behind it: right
//! where a power cut has torn the end, and wrong where the middle is damaged. A frame is known to be of the same time
//! as the one before by two numbers (salts) that change whenever the log begins anew.
//! Source: "WAL-mode File Format", <https://www.sqlite.org/walformat.html>.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

/// The magic number without its last bit, which says in which byte order the sums are.
const MAGIC: u32 = 0x377f_0682;

/// Sizes of pages that `SQLite` has.
const PAGE_BYTES: std::ops::RangeInclusive<u32> = 512..=65_536;

/// What a log holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Changes that `SQLite` will take.
    pub(crate) sound: u64,
    /// Changes behind one that is not sound, which `SQLite` will leave out.
    pub(crate) lost: u64,
}

/// Reads a log. One that is not there, or is too short to say anything, holds nothing.
pub(crate) fn look(path: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut header = [0; HEADER_BYTES];
    if !fill(&mut reader, &mut header)? {
        return Ok(found);
    }
    let magic = word(&header, 0);
    let page_bytes = word(&header, 8);
    if magic & !1 != MAGIC || !PAGE_BYTES.contains(&page_bytes) || !page_bytes.is_power_of_two() {
        return lost_whole(&mut reader);
    }
    let mut sums = Sums { big_endian: magic & 1 == 1, sums: (0, 0) };
    sums.add(&header[..24]);
    if !sums.are(&header[24..]) {
        return lost_whole(&mut reader);
    }
    let mut is_sound = true;
    let mut frame = vec![0; FRAME_HEADER_BYTES + page_bytes as usize];
    while fill(&mut reader, &mut frame)? {
        let (head, page) = frame.split_at(FRAME_HEADER_BYTES);
        if head[8..16] != header[16..24] {
            // Of an earlier time, or itself damaged: only what comes behind it can tell.
            is_sound = false;
            continue;
        }
        if is_sound {
            sums.add(&head[..8]);
            sums.add(page);
            is_sound = sums.are(&head[16..]);
        }
        let ends_change = word(head, 4) != 0;
        found.sound += u64::from(ends_change && is_sound);
        found.lost += u64::from(ends_change && !is_sound);
    }
    Ok(found)
}

/// `SQLite` ignores a log without a sound header. How many changes it has cannot be known: at most one for each page.
fn lost_whole(reader: &mut impl Read) -> io::Result<Found> {
    let bytes = io::copy(reader, &mut io::sink())?;
    Ok(Found { sound: 0, lost: bytes.div_ceil(4096) })
}

/// False at the end of the file.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(word)
}

/// The running sums of a log.
struct Sums {
    big_endian: bool,
    sums: (u32, u32),
}

impl Sums {
    fn add(&mut self, bytes: &[u8]) {
        let (mut first, mut second) = self.sums;
        for pair in bytes.chunks_exact(8) {
            let [a, b] = [word(pair, 0), word(pair, 4)].map(|w| if self.big_endian { w } else { w.swap_bytes() });
            first = first.wrapping_add(a).wrapping_add(second);
            second = second.wrapping_add(b).wrapping_add(first);
        }
        self.sums = (first, second);
    }

    fn are(&self, bytes: &[u8]) -> bool {
        self.sums == (word(bytes, 0), word(bytes, 4))
    }
}
