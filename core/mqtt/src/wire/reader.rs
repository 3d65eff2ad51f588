//! A cursor over the body of one packet. Every read is checked against what is there, so that no length in a
//! packet is ever believed, let alone allocated.

use bytes::Bytes;

use crate::fault::Fault;

/// The unread rest of a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes `count` bytes as a reader of its own.
    pub(crate) fn split(&mut self, count: usize) -> Result<Self, Fault> {
        Ok(Self { rest: self.take(count)? })
    }

    /// Takes all that is left.
    pub(crate) fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Fault> {
        let (&first, rest) = self.rest.split_first().ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(first)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Fault> {
        let (value, rest) = self.rest.split_first_chunk().ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(u16::from_be_bytes(*value))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Fault> {
        let (value, rest) = self.rest.split_first_chunk().ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(u32::from_be_bytes(*value))
    }

    /// A Variable Byte Integer (1.5.5).
    pub(crate) fn var_int(&mut self) -> Result<u32, Fault> {
        let (value, bytes) = var_int(self.rest)?.ok_or(Fault::Truncated)?;
        self.rest = &self.rest[bytes..];
        Ok(value)
    }

    /// Binary Data (1.5.6).
    pub(crate) fn binary(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// A UTF-8 Encoded String (1.5.4): well-formed, so without surrogates (MQTT-1.5.4-1), and without U+0000
    /// (MQTT-1.5.4-2). A byte order mark is kept (MQTT-1.5.4-3).
    pub(crate) fn text(&mut self) -> Result<&'a str, Fault> {
        let text = std::str::from_utf8(self.binary()?).map_err(|_| Fault::NotUtf8)?;
        if text.contains('\0') {
            return Err(Fault::Nul);
        }
        Ok(text)
    }

    /// All must have been read.
    pub(crate) fn finish(self) -> Result<(), Fault> {
        if self.rest.is_empty() { Ok(()) } else { Err(Fault::TrailingBytes) }
    }
}

/// Makes a part of a packet outlive it. It is copied, once for all who receive it: a slice of the buffer that it
/// arrived in would keep all of that buffer, so that 5 kB in a queue could hold a megabyte that no quota counts.
pub(crate) fn keep(part: &[u8]) -> Bytes {
    Bytes::copy_from_slice(part)
}

/// The Variable Byte Integer at the start of `bytes`, and how many bytes it has; `None`: more are needed.
pub(crate) fn var_int(bytes: &[u8]) -> Result<Option<(u32, usize)>, Fault> {
    let mut value = 0_u32;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            // A last byte of 0 adds nothing to the bytes before it (MQTT-1.5.5-1).
            if byte == 0 && index > 0 {
                return Err(Fault::VarIntNotMinimal);
            }
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() >= 4 { Err(Fault::VarIntTooLong) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::super::writer::{Count, Sink, var_int_bytes};
    use super::*;
    use bytes::BytesMut;

    /// Table 1-1.
    #[test]
    fn a_variable_byte_integer_has_the_bytes_that_the_standard_shows() {
        let bounds: [(u32, &[u8]); 8] = [
            (0, &[0]),
            (127, &[0x7F]),
            (128, &[0x80, 0x01]),
            (16_383, &[0xFF, 0x7F]),
            (16_384, &[0x80, 0x80, 0x01]),
            (2_097_151, &[0xFF, 0xFF, 0x7F]),
            (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
            (268_435_455, &[0xFF, 0xFF, 0xFF, 0x7F]),
        ];
        for (value, bytes) in bounds {
            let mut output = BytesMut::new();
            output.var_int(value as usize);
            assert_eq!(output[..], *bytes);
            assert_eq!(var_int_bytes(value as usize), bytes.len());
            assert_eq!(var_int(bytes), Ok(Some((value, bytes.len()))));
            for cut in 0..bytes.len() {
                assert_eq!(var_int(&bytes[..cut]), Ok(None));
            }
        }
    }

    #[test]
    fn what_the_wire_cannot_say_is_noticed_by_counting() {
        let mut count = Count::default();
        count.var_int(268_435_456);
        assert_eq!(count.packet_body(), None);
        let mut count = Count::default();
        count.field(&vec![0; 65_535]);
        assert_eq!(count.packet_body(), Some(65_537));
        count.field(&vec![0; 65_536]);
        assert_eq!(count.packet_body(), None);
    }

    #[test]
    fn nothing_is_read_beyond_the_end() {
        let mut reader = Reader::new(&[0]);
        assert_eq!(reader.u16(), Err(Fault::Truncated));
        assert_eq!(reader.u32(), Err(Fault::Truncated));
        assert_eq!(reader.take(2), Err(Fault::Truncated));
        assert_eq!(reader.u8(), Ok(0), "and nothing is lost by trying");
        assert_eq!(reader.u8(), Err(Fault::Truncated));
        assert_eq!(reader.var_int(), Err(Fault::Truncated));
    }
}
