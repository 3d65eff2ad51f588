//! Steps through DER (X.690, section 8.1 and 10.1) without taking anything out of it.

/// A value with its tag.
#[derive(Clone, Copy)]
pub(super) struct Tlv<'a> {
    pub(super) tag: u8,
    /// Tag and length included.
    pub(super) whole: &'a [u8],
    /// Place of `whole` in the buffer that was begun with.
    pub(super) at: usize,
    pub(super) content: &'a [u8],
}

/// What is left of a sequence of values.
#[derive(Clone, Copy)]
pub(super) struct Der<'a> {
    rest: &'a [u8],
    at: usize,
}

/// Where the bytes stop to be DER, or to be what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) at: usize,
    pub(super) what: &'static str,
}

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;

/// `[n]` of a value in itself (IMPLICIT, primitive).
pub(super) const fn context(number: u8) -> u8 {
    0x80 | number
}

/// `[n]` of a value with others inside.
pub(super) const fn context_of(number: u8) -> u8 {
    0xA0 | number
}

impl<'a> Der<'a> {
    /// Begins at `at` of a buffer, where these bytes are.
    pub(super) fn new(rest: &'a [u8], at: usize) -> Self {
        Self { rest, at }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn broken(&self, what: &'static str) -> Broken {
        Broken { at: self.at, what }
    }

    /// The next value, whatever it is.
    pub(super) fn next(&mut self) -> Result<Tlv<'a>, Broken> {
        const SHORT: &str = "it ends in the middle of a value; it may be cut short";
        let cut = self.broken(SHORT);
        let [tag, first, ..] = *self.rest else { return Err(cut) };
        if tag & 0x1F == 0x1F {
            return Err(self.broken("a tag of several bytes"));
        }
        let (header, length) = if first < 0x80 {
            (2, usize::from(first))
        } else {
            let bytes = usize::from(first & 0x7F);
            // Four bytes reach far beyond the longest list; none would be the indefinite form, which is not DER.
            if !(1..=4).contains(&bytes) {
                return Err(self.broken("a length that is not DER"));
            }
            let digits = self.rest.get(2..2 + bytes).ok_or(cut)?;
            let length = digits.iter().fold(0_usize, |length, &byte| length << 8 | usize::from(byte));
            if digits[0] == 0 || length < 0x80 {
                return Err(self.broken("a length that is not DER"));
            }
            (2 + bytes, length)
        };
        let end = header.checked_add(length).filter(|&end| end <= self.rest.len()).ok_or(cut)?;
        let (whole, rest) = self.rest.split_at(end);
        let tlv = Tlv { tag, whole, at: self.at, content: &whole[header..] };
        (self.rest, self.at) = (rest, self.at + end);
        Ok(tlv)
    }

    /// The next value, which must have this tag.
    pub(super) fn expect(&mut self, tag: u8, what: &'static str) -> Result<Tlv<'a>, Broken> {
        let at = self.broken(what);
        let tlv = self.next()?;
        if tlv.tag == tag { Ok(tlv) } else { Err(at) }
    }

    /// The next value, if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<Tlv<'a>>, Broken> {
        if self.rest.first() == Some(&tag) { self.next().map(Some) } else { Ok(None) }
    }

    /// Nothing may follow.
    pub(super) fn end(&self, what: &'static str) -> Result<(), Broken> {
        if self.is_empty() { Ok(()) } else { Err(self.broken(what)) }
    }
}

impl<'a> Tlv<'a> {
    /// The values inside.
    pub(super) fn inside(&self) -> Der<'a> {
        Der::new(self.content, self.at + self.whole.len() - self.content.len())
    }

    /// A BOOLEAN, however it is tagged.
    pub(super) fn is_true(&self) -> Result<bool, Broken> {
        match self.content {
            [value] => Ok(*value != 0),
            _ => Err(self.inside().broken("a truth value")),
        }
    }
}
