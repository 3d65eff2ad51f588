//! Finds PEM sections in what people really have on disk (RFC 7468, and RFC 1421 for old encrypted keys):
//! CRLF, a byte order mark, text around the sections, lines of any width.

use pkcs8::der::pem as strict;
use zeroize::Zeroizing;

/// One section. The content is wiped on drop, because it may be a key.
pub(crate) struct Section {
    /// The words after BEGIN.
    pub(crate) label: String,
    /// The RFC 1421 headers that it begins with.
    pub(crate) headers: Headers,
    /// The DER.
    pub(crate) content: Zeroizing<Vec<u8>>,
}

/// The RFC 1421 headers that say how a section is encrypted. Others are passed over.
#[derive(Default)]
pub(crate) struct Headers {
    /// `Proc-Type`, of an encrypted section `4,ENCRYPTED`.
    pub(crate) proc_type: Option<String>,
    /// `DEK-Info`: the cipher, a comma, and the initialisation vector.
    pub(crate) dek_info: Option<String>,
    /// One of them stands twice.
    pub(crate) repeated: bool,
}

impl Headers {
    fn take(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let Some((name, value)) = line.split_once(':') else { return };
        let place = match name.trim() {
            "Proc-Type" => &mut self.proc_type,
            "DEK-Info" => &mut self.dek_info,
            _ => return,
        };
        self.repeated |= place.replace(value.trim().to_owned()).is_some();
    }
}

/// Why a text is not PEM. No variant carries any of the text but a label: it may be a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemFault {
    /// Nothing in the file.
    #[error("the file is empty")]
    Empty,
    /// Larger than any honest file.
    #[error("the file has {found} bytes, at most {max} are read")]
    TooLarge {
        /// Bytes found.
        found: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A byte order mark of UTF-16.
    #[error("the file is UTF-16 text; save it as plain ASCII or UTF-8")]
    Utf16,
    /// DER or PKCS#12 where PEM belongs.
    #[error(
        "the file is binary (DER or PKCS#12), PEM is wanted; convert it with \
         `openssl x509 -inform DER -in FILE -out FILE.pem` (a key: `openssl pkey -inform DER …`; \
         PKCS#12: `openssl pkcs12 -in FILE -nodes …`)"
    )]
    Binary,
    /// Text without a single section.
    #[error("the file has no PEM section (`-----BEGIN …-----`)")]
    NoSection,
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
    /// More sections than any honest file has.
    #[error("the file has more than {max} PEM sections")]
    TooManySections {
        /// Allowed.
        max: usize,
    },
}

/// Largest file that is read, in bytes. The whole Mozilla root store takes a quarter of it.
pub(crate) const MAX_FILE_BYTES: usize = 1024 * 1024;
/// Most sections in one file; the Mozilla root store has about 150.
pub(crate) const MAX_SECTIONS: usize = 512;
/// Columns of base64 in strict PEM (RFC 7468 section 3).
const COLUMNS: usize = 64;

/// All sections of the file, in order.
pub(crate) fn sections(file: &[u8]) -> Result<Vec<Section>, PemFault> {
    let text = plain_text(file)?;
    let mut found = Vec::new();
    let mut open: Option<Open<'_>> = None;
    // Old Macintosh line ends are not looked for: no tool has written them in this century.
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if let Some(label) = marker(line, b"-----BEGIN ") {
            if let Some(unfinished) = open {
                return Err(PemFault::Unfinished { line: unfinished.line });
            }
            open =
                Some(Open { label, line: index + 1, headers: Headers::default(), base64: Zeroizing::new(Vec::new()) });
        } else if let Some(label) = marker(line, b"-----END ") {
            let Some(section) = open.take() else { continue };
            if section.label != label {
                return Err(PemFault::Unfinished { line: section.line });
            }
            if found.len() == MAX_SECTIONS {
                return Err(PemFault::TooManySections { max: MAX_SECTIONS });
            }
            found.push(section.close()?);
        } else if let Some(section) = &mut open {
            section.take_line(line, text.len());
        }
    }
    match open {
        Some(section) => Err(PemFault::Unfinished { line: section.line }),
        None if found.is_empty() => Err(PemFault::NoSection),
        None => Ok(found),
    }
}

fn plain_text(file: &[u8]) -> Result<&[u8], PemFault> {
    if file.len() > MAX_FILE_BYTES {
        return Err(PemFault::TooLarge { found: file.len(), max: MAX_FILE_BYTES });
    }
    if file.starts_with(&[0xFF, 0xFE]) || file.starts_with(&[0xFE, 0xFF]) {
        return Err(PemFault::Utf16);
    }
    let text = file.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(file);
    if text.trim_ascii().is_empty() {
        return Err(PemFault::Empty);
    }
    // A DER SEQUENCE with its length in one or two bytes: every binary form of keys and certificates.
    if matches!(text, [0x30, 0x81 | 0x82, ..]) {
        return Err(PemFault::Binary);
    }
    Ok(text)
}

fn marker<'a>(line: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    line.strip_prefix(start)?.strip_suffix(b"-----")
}

/// A section whose END has not been seen.
struct Open<'a> {
    label: &'a [u8],
    line: usize,
    headers: Headers,
    base64: Zeroizing<Vec<u8>>,
}

impl Open<'_> {
    fn take_line(&mut self, line: &[u8], file_bytes: usize) {
        // Base64 has no colon; RFC 1421 headers always have one.
        if line.contains(&b':') {
            self.headers.take(line);
            return;
        }
        if self.base64.capacity() == 0 {
            // Reserved once: a buffer that grows leaves copies of a key behind.
            self.base64.reserve_exact(file_bytes + file_bytes / COLUMNS + 1);
        }
        for &byte in line.iter().filter(|byte| !byte.is_ascii_whitespace()) {
            if self.base64.len() % (COLUMNS + 1) == COLUMNS {
                self.base64.push(b'\n');
            }
            self.base64.push(byte);
        }
    }

    /// Puts the section into the one strict form and lets a strict decoder read it.
    fn close(self) -> Result<Section, PemFault> {
        let label = String::from_utf8_lossy(self.label).into_owned();
        let mut text = Zeroizing::new(Vec::with_capacity(self.base64.len() + 64));
        text.extend_from_slice(b"-----BEGIN X-----\n");
        text.extend_from_slice(&self.base64);
        text.extend_from_slice(b"\n-----END X-----\n");
        let (_, content) = strict::decode_vec(&text).map_err(|_| PemFault::Base64 { line: self.line })?;
        Ok(Section { label, headers: self.headers, content: Zeroizing::new(content) })
    }
}
