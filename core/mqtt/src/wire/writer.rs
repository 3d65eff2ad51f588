//! Where packets are written to: first a [`Count`], which learns the length, then the buffer. So nothing is
//! written twice and no packet needs a buffer of its own.

use bytes::{BufMut, BytesMut};

/// Largest value of a Variable Byte Integer (1.5.5).
pub(crate) const VAR_INT_MAX: usize = 268_435_455;

/// Takes the bytes of a packet.
pub(crate) trait Sink {
    fn put(&mut self, bytes: &[u8]);

    /// Bytes that belong here and are sent from elsewhere.
    fn skip(&mut self, bytes: usize);

    fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    /// A Variable Byte Integer. [`Count`] refuses a packet whose value does not fit, before it is written.
    fn var_int(&mut self, value: usize) {
        let mut rest = value;
        loop {
            #[expect(clippy::cast_possible_truncation, reason = "seven bits are kept")]
            let low = (rest & 0x7F) as u8;
            rest >>= 7;
            if rest == 0 {
                return self.u8(low);
            }
            self.u8(low | 0x80);
        }
    }

    /// The length of a string or of binary data. [`Count`] refuses a packet with a longer one.
    fn length(&mut self, bytes: usize) {
        self.u16(u16::try_from(bytes).unwrap_or(u16::MAX));
    }

    /// A string or binary data with its length.
    fn field(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.put(bytes);
    }
}

impl Sink for BytesMut {
    fn put(&mut self, bytes: &[u8]) {
        self.put_slice(bytes);
    }

    fn skip(&mut self, _bytes: usize) {}
}

/// Counts, and notices what cannot be said on the wire.
#[derive(Debug, Default)]
pub(crate) struct Count {
    bytes: usize,
    overflow: bool,
}

impl Count {
    /// How many bytes were put.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many bytes were put; `None` if they do not make a packet.
    pub(crate) fn packet_body(&self) -> Option<usize> {
        (!self.overflow && self.bytes <= VAR_INT_MAX).then_some(self.bytes)
    }
}

impl Sink for Count {
    fn put(&mut self, bytes: &[u8]) {
        self.skip(bytes.len());
    }

    fn skip(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn var_int(&mut self, value: usize) {
        self.overflow |= value > VAR_INT_MAX;
        self.bytes = self.bytes.saturating_add(var_int_bytes(value));
    }

    fn length(&mut self, bytes: usize) {
        self.overflow |= bytes > usize::from(u16::MAX);
        self.bytes = self.bytes.saturating_add(2);
    }
}

/// How many bytes a Variable Byte Integer takes.
pub(crate) fn var_int_bytes(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}
