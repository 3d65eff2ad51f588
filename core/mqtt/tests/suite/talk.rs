//! Short words for the tests: bytes from hex, a connection in the state wanted, a refusal checked whole.

use bytes::BytesMut;
use postern_mqtt::packet::{ConnAck, Connect, Disconnect, Packet, Version};
use postern_mqtt::wire::encode;
use postern_mqtt::{Fault, Limits, Link, LinkError, ReasonCode, Sent};

pub(crate) const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];

/// Bytes from hex digits; blanks are only for the reader.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| u8::try_from(c.to_digit(16).expect("a hex digit")).expect("below 16"))
        .collect();
    assert!(digits.len().is_multiple_of(2), "half a byte in {text}");
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A packet from its first byte and its body: the length is right whatever the body is.
pub(crate) fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut rest = body.len();
    loop {
        let low = u8::try_from(rest & 0x7F).expect("seven bits");
        rest >>= 7;
        packet.push(if rest == 0 { low } else { low | 0x80 });
        if rest == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

/// Two bytes of length, then the bytes.
pub(crate) fn field(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a field");
    [&length.to_be_bytes(), bytes].concat()
}

/// The plainest CONNECT.
pub(crate) fn connect(version: Version) -> Connect {
    Connect { keep_alive: 60, ..Connect::new(version, "a") }
}

/// The bytes of a packet.
pub(crate) fn wire(version: Version, packet: &Packet) -> Vec<u8> {
    let mut output = BytesMut::new();
    assert_eq!(encode(version, packet, &mut output), Sent::Written);
    output.to_vec()
}

/// What a link makes of a packet that it can say.
#[track_caller]
pub(crate) fn said(link: &mut Link, packet: &Packet) -> Vec<u8> {
    let mut output = BytesMut::new();
    assert_eq!(link.send(packet, &mut output), Sent::Written, "{packet:?}");
    output.to_vec()
}

/// A connection that has said nothing.
pub(crate) fn fresh() -> Link {
    Link::new(Limits::default(), 0)
}

/// A connection whose CONNECT was answered with success.
pub(crate) fn live_with(connect: Connect, limits: Limits) -> Link {
    let mut link = Link::new(limits, 0);
    let mut input = BytesMut::from(&wire(connect.version, &Packet::Connect(Box::new(connect)))[..]);
    assert!(matches!(link.receive(0, &mut input), Ok(Some(Packet::Connect(_)))));
    let ack = Packet::ConnAck(Box::default());
    assert_eq!(link.send(&ack, &mut BytesMut::new()), Sent::Written);
    link
}

/// The same with nothing special.
pub(crate) fn live(version: Version) -> Link {
    live_with(connect(version), Limits::default())
}

/// What a link makes of these bytes.
pub(crate) fn receive(link: &mut Link, bytes: &[u8]) -> Result<Option<Packet>, LinkError> {
    link.receive(0, &mut BytesMut::from(bytes))
}

/// The one packet that these bytes are, taken whole.
#[track_caller]
pub(crate) fn taken(link: &mut Link, bytes: &[u8]) -> Packet {
    let mut input = BytesMut::from(bytes);
    let packet = link.receive(0, &mut input).expect("well-formed").expect("whole");
    assert!(input.is_empty(), "bytes were left over");
    packet
}

/// The bytes sent after a live connection was opened end it with `fault`, which is said the way the version can
/// say it, and nothing is listened to after that.
#[track_caller]
pub(crate) fn refuses(version: Version, bytes: &[u8], fault: Fault) {
    let mut link = live(version);
    let error = receive(&mut link, bytes).expect_err("must be refused");
    assert_eq!(error.fault(), fault, "{version:?} {bytes:02X?}");
    let farewell = error.farewell();
    if version == Version::V5 {
        assert_eq!(farewell, Some(Packet::Disconnect(Disconnect::new(fault.reason()))));
        let mut output = BytesMut::new();
        assert_eq!(link.send(&farewell.expect("checked"), &mut output), Sent::Written);
        assert_eq!(output[..], [0xE0, 1, fault.reason().0]);
    } else {
        assert_eq!(farewell, None, "3.x has no DISCONNECT from the server");
    }
    assert_eq!(receive(&mut link, &[0xC0, 0]).expect_err("is over").fault(), Fault::AfterEnd);
}

/// A CONNECT is refused with `fault`; `said` are the bytes of the answer.
#[track_caller]
pub(crate) fn refuses_connect(bytes: &[u8], fault: Fault, said: &str) {
    let mut link = fresh();
    let error = receive(&mut link, bytes).expect_err("must be refused");
    assert_eq!(error.fault(), fault, "{bytes:02X?}");
    let mut output = BytesMut::new();
    if let Some(farewell) = error.farewell() {
        assert_eq!(link.send(&farewell, &mut output), Sent::Written);
        assert_ne!(farewell, Packet::ConnAck(Box::default()), "never a success");
    }
    assert_eq!(output[..], hex(said), "{bytes:02X?}");
    assert_eq!(receive(&mut link, &[0xC0, 0]).expect_err("is over").fault(), Fault::AfterEnd);
}

/// A refusal of a 5.0 CONNECT in bytes.
pub(crate) fn conn_ack_hex(reason: ReasonCode) -> String {
    format!("20 03 00 {:02X} 00", reason.0)
}

/// A CONNACK with this reason.
pub(crate) fn conn_ack(reason: ReasonCode) -> Packet {
    Packet::ConnAck(Box::new(ConnAck { reason, ..ConnAck::default() }))
}
