//! The properties of 5.0: one table (section 2.2.2.2) from which reading, writing, the place check and the
//! check for repetition all follow.

use std::num::{NonZeroU16, NonZeroU32};

use crate::fault::Fault;
use crate::limits::Limits;
use crate::wire::reader::Reader;
use crate::wire::writer::{Count, Sink};

/// Where a property section stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Connect,
    Will,
    ConnAck,
    Publish,
    /// PUBACK, PUBREC, PUBREL, PUBCOMP
    Ack,
    Subscribe,
    Unsubscribe,
    /// SUBACK, UNSUBACK
    SubAck,
    Disconnect,
    Auth,
}

/// A value on the wire (section 1.5); its Rust type says which values there are.
pub(crate) trait Value<'a>: Sized {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault>;
    fn write(&self, sink: &mut impl Sink);
}

/// A Variable Byte Integer above 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VarInt(pub(crate) u32);

macro_rules! properties {
    ($($id:literal $name:ident($value:ty) once [$($once:ident)*] often [$($often:ident)*];)*) => {
        /// One property.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Property<'a> { $($name($value),)* }

        impl<'a> Property<'a> {
            /// Reads the value of property `id` and says whether this place may hold it more than once.
            fn read(id: u32, place: Place, reader: &mut Reader<'a>) -> Result<(Self, bool), Fault> {
                match id {
                    $($id => {
                        const ONCE: &[Place] = &[$(Place::$once),*];
                        const OFTEN: &[Place] = &[$(Place::$often),*];
                        let often = OFTEN.contains(&place);
                        if !often && !ONCE.contains(&place) {
                            return Err(Fault::PropertyMisplaced);
                        }
                        Ok((Self::$name(Value::read(reader)?), often))
                    })*
                    _ => Err(Fault::PropertyUnknown),
                }
            }

            /// Writes identifier and value.
            pub(crate) fn write(&self, sink: &mut impl Sink) {
                match self {
                    $(Self::$name(value) => {
                        sink.u8($id);
                        value.write(sink);
                    })*
                }
            }
        }
    };
}

properties! {
    0x01 PayloadFormatIndicator(bool)                once [Publish Will] often [];
    0x02 MessageExpiryInterval(u32)                  once [Publish Will] often [];
    0x03 ContentType(&'a str)                        once [Publish Will] often [];
    0x08 ResponseTopic(&'a str)                      once [Publish Will] often [];
    0x09 CorrelationData(&'a [u8])                   once [Publish Will] often [];
    0x0B SubscriptionIdentifier(VarInt)              once [Subscribe] often [Publish];
    0x11 SessionExpiryInterval(u32)                  once [Connect ConnAck Disconnect] often [];
    0x12 AssignedClientIdentifier(&'a str)           once [ConnAck] often [];
    0x13 ServerKeepAlive(u16)                        once [ConnAck] often [];
    0x15 AuthenticationMethod(&'a str)               once [Connect ConnAck Auth] often [];
    0x16 AuthenticationData(&'a [u8])                once [Connect ConnAck Auth] often [];
    0x17 RequestProblemInformation(bool)             once [Connect] often [];
    0x18 WillDelayInterval(u32)                      once [Will] often [];
    0x19 RequestResponseInformation(bool)            once [Connect] often [];
    0x1A ResponseInformation(&'a str)                once [ConnAck] often [];
    0x1C ServerReference(&'a str)                    once [ConnAck Disconnect] often [];
    0x1F ReasonString(&'a str)                       once [ConnAck Ack SubAck Disconnect Auth] often [];
    0x21 ReceiveMaximum(NonZeroU16)                  once [Connect ConnAck] often [];
    0x22 TopicAliasMaximum(u16)                      once [Connect ConnAck] often [];
    0x23 TopicAlias(u16)                             once [Publish] often [];
    0x24 MaximumQoS(bool)                            once [ConnAck] often [];
    0x25 RetainAvailable(bool)                       once [ConnAck] often [];
    0x26 User((&'a str, &'a str))                    once []
        often [Connect Will ConnAck Publish Ack Subscribe Unsubscribe SubAck Disconnect Auth];
    0x27 MaximumPacketSize(NonZeroU32)               once [Connect ConnAck] often [];
    0x28 WildcardSubscriptionAvailable(bool)         once [ConnAck] often [];
    0x29 SubscriptionIdentifierAvailable(bool)       once [ConnAck] often [];
    0x2A SharedSubscriptionAvailable(bool)           once [ConnAck] often [];
}

/// Reads one property section and hands over each property, in order and in one pass.
pub(crate) fn read_section<'a>(
    reader: &mut Reader<'a>,
    place: Place,
    limits: &Limits,
    mut take: impl FnMut(Property<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let length = reader.var_int()?;
    let mut section = reader.split(length as usize)?;
    // Identifiers of the table are below 64.
    let mut seen = 0_u64;
    let (mut user_properties, mut user_property_bytes) = (0_usize, 0_usize);
    while !section.is_empty() {
        let id = section.var_int()?;
        let (property, often) = Property::read(id, place, &mut section)?;
        let bit = 1_u64 << id;
        if seen & bit != 0 && !often {
            return Err(Fault::PropertyRepeated);
        }
        seen |= bit;
        if let Property::User((name, value)) = property {
            user_properties += 1;
            user_property_bytes += name.len() + value.len();
            if user_properties > limits.user_properties || user_property_bytes > limits.user_property_bytes {
                return Err(Fault::TooManyUserProperties);
            }
        }
        take(property)?;
    }
    Ok(())
}

/// Writes one property section: `each` names its properties, once to measure and once to write.
pub(crate) fn write_section<'a>(sink: &mut impl Sink, each: impl Fn(&mut dyn FnMut(Property<'a>))) {
    let mut count = Count::default();
    each(&mut |property| property.write(&mut count));
    sink.var_int(count.bytes());
    each(&mut |property| property.write(sink));
}

impl Value<'_> for bool {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        match reader.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Fault::PropertyValue),
        }
    }
    fn write(&self, sink: &mut impl Sink) {
        sink.u8(u8::from(*self));
    }
}

impl Value<'_> for u16 {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        reader.u16()
    }
    fn write(&self, sink: &mut impl Sink) {
        sink.u16(*self);
    }
}

impl Value<'_> for NonZeroU16 {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        Self::new(reader.u16()?).ok_or(Fault::PropertyValue)
    }
    fn write(&self, sink: &mut impl Sink) {
        sink.u16(self.get());
    }
}

impl Value<'_> for u32 {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        reader.u32()
    }
    fn write(&self, sink: &mut impl Sink) {
        sink.u32(*self);
    }
}

impl Value<'_> for NonZeroU32 {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        Self::new(reader.u32()?).ok_or(Fault::PropertyValue)
    }
    fn write(&self, sink: &mut impl Sink) {
        sink.u32(self.get());
    }
}

impl Value<'_> for VarInt {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        match reader.var_int()? {
            0 => Err(Fault::PropertyValue),
            value => Ok(Self(value)),
        }
    }
    fn write(&self, sink: &mut impl Sink) {
        sink.var_int(self.0 as usize);
    }
}

impl<'a> Value<'a> for &'a str {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        reader.text()
    }
    fn write(&self, sink: &mut impl Sink) {
        sink.field(self.as_bytes());
    }
}

impl<'a> Value<'a> for &'a [u8] {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        reader.binary()
    }
    fn write(&self, sink: &mut impl Sink) {
        sink.field(self);
    }
}

impl<'a> Value<'a> for (&'a str, &'a str) {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        Ok((reader.text()?, reader.text()?))
    }
    fn write(&self, sink: &mut impl Sink) {
        sink.field(self.0.as_bytes());
        sink.field(self.1.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;

    const PLACES: [Place; 10] = [
        Place::Connect,
        Place::Will,
        Place::ConnAck,
        Place::Publish,
        Place::Ack,
        Place::Subscribe,
        Place::Unsubscribe,
        Place::SubAck,
        Place::Disconnect,
        Place::Auth,
    ];

    /// Table 2-4 in the order of [`PLACES`]: `.` not allowed, `1` once, `n` any number.
    const STANDARD: [(u8, &str, &[u8]); 27] = [
        (0x01, ".1.1......", &[1]),
        (0x02, ".1.1......", &[0, 0, 0, 1]),
        (0x03, ".1.1......", &[0, 1, b'a']),
        (0x08, ".1.1......", &[0, 1, b'a']),
        (0x09, ".1.1......", &[0, 1, 0]),
        (0x0B, "...n.1....", &[0x80, 1]),
        (0x11, "1.1.....1.", &[0, 0, 0, 1]),
        (0x12, "..1.......", &[0, 1, b'a']),
        (0x13, "..1.......", &[0, 1]),
        (0x15, "1.1......1", &[0, 1, b'a']),
        (0x16, "1.1......1", &[0, 1, 0]),
        (0x17, "1.........", &[0]),
        (0x18, ".1........", &[0, 0, 0, 1]),
        (0x19, "1.........", &[1]),
        (0x1A, "..1.......", &[0, 1, b'a']),
        (0x1C, "..1.....1.", &[0, 1, b'a']),
        (0x1F, "..1.1..111", &[0, 1, b'a']),
        (0x21, "1.1.......", &[0, 1]),
        (0x22, "1.1.......", &[0, 0]),
        (0x23, "...1......", &[0, 1]),
        (0x24, "..1.......", &[1]),
        (0x25, "..1.......", &[0]),
        (0x26, "nnnnnnnnnn", &[0, 1, b'a', 0, 0]),
        (0x27, "1.1.......", &[0, 0, 0, 1]),
        (0x28, "..1.......", &[0]),
        (0x29, "..1.......", &[0]),
        (0x2A, "..1.......", &[0]),
    ];

    fn read(id: u8, value: &[u8], times: usize, place: Place) -> Result<usize, Fault> {
        let section = [&[id][..], value].concat().repeat(times);
        let length = u8::try_from(section.len()).expect("short");
        let bytes = [&[length][..], &section].concat();
        let mut count = 0;
        read_section(&mut Reader::new(&bytes), place, &Limits::default(), |property| {
            let mut again = BytesMut::new();
            property.write(&mut again);
            assert_eq!(again[..], [&[id][..], value].concat(), "written as it was read");
            count += 1;
            Ok(())
        })?;
        Ok(count)
    }

    #[test]
    fn table_2_4_each_property_is_taken_where_it_belongs_and_as_often() {
        for (id, places, value) in STANDARD {
            for (place, allowed) in PLACES.into_iter().zip(places.chars()) {
                let (once, twice) = (read(id, value, 1, place), read(id, value, 2, place));
                match allowed {
                    '.' => assert_eq!(once, Err(Fault::PropertyMisplaced), "{id:#X} {place:?}"),
                    '1' => assert_eq!((once, twice), (Ok(1), Err(Fault::PropertyRepeated)), "{id:#X} {place:?}"),
                    _ => assert_eq!((once, twice), (Ok(1), Ok(2)), "{id:#X} {place:?}"),
                }
            }
        }
    }

    #[test]
    fn identifiers_that_the_standard_does_not_have_are_unknown() {
        for id in (0..=0x7F).filter(|id| STANDARD.iter().all(|(known, ..)| known != id)) {
            assert_eq!(read(id, &[], 1, Place::ConnAck), Err(Fault::PropertyUnknown), "{id:#X}");
        }
    }

    #[test]
    fn a_written_section_has_its_length() {
        let mut output = BytesMut::new();
        write_section(&mut output, |put| {
            for _ in 0..50 {
                put(Property::User(("a", "")));
            }
        });
        assert_eq!(output.len(), 2 + 50 * 6);
        assert_eq!(output[..2], [0xAC, 2]);
        let mut empty = BytesMut::new();
        write_section(&mut empty, |_| {});
        assert_eq!(empty[..], [0]);
    }
}
