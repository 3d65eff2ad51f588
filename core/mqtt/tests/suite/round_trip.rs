//! What is written is read back, whole or in pieces; what is not a packet is refused without harm.

use bytes::BytesMut;
use postern_mqtt::packet::{Packet, Version};
use postern_mqtt::wire::{Decoder, Sender};
use postern_mqtt::{Fault, Limits, Link, Sent};
use proptest::prelude::*;

use crate::packets::{packet, sender, version};
use crate::talk::*;

/// A decoder that stands where `packet` may come.
fn decoder_for(version: Version, sender: Sender, packet: &Packet) -> Decoder {
    let version = Some(version).filter(|_| !matches!(packet, Packet::Connect(_)));
    Decoder::new(sender, version, Limits::default())
}

fn sent_packet() -> impl Strategy<Value = (Version, Sender, Packet)> {
    (version(), sender()).prop_flat_map(|(version, sender)| (Just(version), Just(sender), packet(version, sender)))
}

/// A stream of a client with its CONNECT at the front.
fn stream() -> impl Strategy<Value = (Version, Vec<Packet>)> {
    version().prop_flat_map(|version| {
        let packets = proptest::collection::vec(packet(version, Sender::Client), 1..6);
        (Just(version), packets)
    })
}

fn stream_bytes(version: Version, packets: &[Packet]) -> Vec<u8> {
    let connect = Packet::Connect(Box::new(connect(version)));
    std::iter::once(&connect).chain(packets).flat_map(|packet| wire(version, packet)).collect()
}

/// Feeds `bytes` in pieces of at most `piece` bytes; what came of them, up to the first fault.
fn drive(bytes: &[u8], piece: usize) -> (Vec<Packet>, Option<Fault>) {
    let (mut link, mut input, mut packets) = (Link::new(Limits::default(), 0), BytesMut::new(), Vec::new());
    for piece in bytes.chunks(piece.max(1)) {
        input.extend_from_slice(piece);
        loop {
            let before = input.len();
            match link.receive(0, &mut input) {
                Ok(Some(packet)) => {
                    assert!(input.len() < before, "a packet has bytes");
                    if matches!(packet, Packet::Connect(_)) {
                        assert_eq!(link.send(&Packet::ConnAck(Box::default()), &mut BytesMut::new()), Sent::Written);
                    }
                    packets.push(packet);
                }
                Ok(None) => break,
                Err(error) => return (packets, Some(error.fault())),
            }
        }
    }
    (packets, None)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_packet_is_read_back_as_it_was_written((version, sender, packet) in sent_packet()) {
        let bytes = wire(version, &packet);
        let mut input = BytesMut::from(&bytes[..]);
        let mut decoder = decoder_for(version, sender, &packet);
        prop_assert_eq!(decoder.next(&mut input), Ok(Some(packet)));
        prop_assert!(input.is_empty());
    }

    #[test]
    fn every_packet_cut_short_waits_for_its_rest((version, sender, packet) in sent_packet(), cut in any::<prop::sample::Index>()) {
        let bytes = wire(version, &packet);
        let mut input = BytesMut::from(&bytes[..cut.index(bytes.len())]);
        let before = input.clone();
        prop_assert_eq!(decoder_for(version, sender, &packet).next(&mut input), Ok(None));
        prop_assert_eq!(input, before);
    }

    #[test]
    fn a_packet_of_the_other_end_is_refused((version, sender, packet) in sent_packet()) {
        let other = if sender == Sender::Client { Sender::Server } else { Sender::Client };
        let bytes = wire(version, &packet);
        let decoded = Decoder::new(other, Some(version), Limits::default()).next(&mut BytesMut::from(&bytes[..]));
        let both_ways = matches!(
            packet,
            Packet::Publish(_) | Packet::PubAck(_) | Packet::PubRec(_) | Packet::PubRel(_) | Packet::PubComp(_)
                | Packet::Disconnect(_) | Packet::Auth(_)
        );
        prop_assert!(both_ways || decoded.is_err());
    }

    #[test]
    fn a_17_the_segmentation_of_a_stream_does_not_matter((version, packets) in stream(), piece in 1_usize..40) {
        let bytes = stream_bytes(version, &packets);
        prop_assert_eq!(drive(&bytes, 1), drive(&bytes, bytes.len()));
        prop_assert_eq!(drive(&bytes, piece), drive(&bytes, bytes.len()));
    }

    #[test]
    fn a_18_mutated_streams_do_no_harm_however_they_are_cut(
        (version, packets) in stream(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 1..6),
        piece in 1_usize..40,
    ) {
        let mut bytes = stream_bytes(version, &packets);
        for (at, byte, how) in changes {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ if bytes.len() > 1 => { bytes.remove(at); }
                _ => {}
            }
        }
        let (whole, fault) = drive(&bytes, bytes.len());
        let (pieces, piecemeal_fault) = drive(&bytes, piece);
        prop_assert_eq!(whole, pieces);
        prop_assert_eq!(fault, piecemeal_fault);
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(version in version(), sender in sender(), bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut input = BytesMut::from(&bytes[..]);
        let mut decoder = Decoder::new(sender, Some(version), Limits::default());
        loop {
            let before = input.len();
            match decoder.next(&mut input) {
                Ok(Some(_)) => prop_assert!(input.len() < before),
                Ok(None) => { prop_assert_eq!(input.len(), before); break; }
                Err(_) => break,
            }
        }
    }

    /// The body alone, behind a right header, so that more than the header is put to the test.
    #[test]
    fn arbitrary_bodies_do_no_harm(
        version in version(),
        sender in sender(),
        first in prop_oneof![Just(0x10_u8), Just(0x20), Just(0x30), Just(0x32), Just(0x40), Just(0x62), Just(0x82),
            Just(0x90), Just(0xA2), Just(0xB0), Just(0xE0), Just(0xF0)],
        body in proptest::collection::vec(prop_oneof![0_u8..0x30, any::<u8>()], 0..80),
    ) {
        let known = Some(version).filter(|_| first != 0x10);
        let body = if first == 0x10 { [&hex("0004 4D515454 05")[..], &body].concat() } else { body };
        let mut input = BytesMut::from(&framed(first, &body)[..]);
        let decoded = Decoder::new(sender, known, Limits::default()).next(&mut input);
        prop_assert!(!matches!(decoded, Ok(None)), "it is whole");
    }

    /// What was read can be written and is then read as the same: no packet has two meanings.
    #[test]
    fn what_is_read_from_mutated_bytes_can_be_written_again(
        (version, sender, packet) in sent_packet(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = wire(version, &packet);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let mut decoder = decoder_for(version, sender, &packet);
        if let Ok(Some(read)) = decoder.next(&mut BytesMut::from(&bytes[..])) {
            let version = decoder.version().expect("something was read");
            let again = wire(version, &read);
            let mut decoder = decoder_for(version, sender, &read);
            prop_assert_eq!(decoder.next(&mut BytesMut::from(&again[..])), Ok(Some(read)));
        }
    }
}

#[test]
fn payloads_do_not_pin_the_buffer_that_they_arrived_in() {
    for payload in [100, 100_000] {
        let body = [&hex("0001 61")[..], &vec![b'x'; payload]].concat();
        let mut input = BytesMut::from(&framed(0x30, &body)[..]);
        let buffer = input.as_ptr_range();
        let mut decoder = Decoder::new(Sender::Client, Some(Version::V3_1_1), Limits::default());
        let Ok(Some(Packet::Publish(publish))) = decoder.next(&mut input) else { panic!("PUBLISH") };
        assert_eq!(publish.message.payload.len(), payload);
        assert!(!buffer.contains(&publish.message.payload.as_ptr()));
    }
}
