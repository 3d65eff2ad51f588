//! Valid packets of all types, and what a careless or hostile hand makes of them.

use crate::wire::{self, Connect, V5, kind};

/// Changes to one packet, at most.
const CHANGES_MAX: usize = 4;
/// Bytes that are put in or taken out at once, at most.
const RUN_MAX: usize = 8;
/// Bytes at the edges of what fields may hold.
const EDGES: [u8; 6] = [0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF];

/// A small generator (`SplitMix64`): the same numbers for the same seed on every machine.
pub struct Random(u64);

impl Random {
    /// One of several independent sequences of a seed.
    pub fn new(seed: u64, which: u64) -> Self {
        let mut random = Self(seed);
        random.0 = random.next().wrapping_add(which);
        Self(random.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one.
    ///
    /// # Panics
    /// Where there is none.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        if self.below(3) == 0 { EDGES[self.below(EDGES.len())] } else { u8::try_from(self.below(256)).unwrap() }
    }
}

/// Packets of every type of one version, those that only a server sends included.
pub struct Corpus(Vec<Vec<u8>>);

impl Corpus {
    /// The corpus of a version.
    pub fn new(version: u8) -> Self {
        let mut packets = vec![
            Connect::new(version, "mutated").bytes(),
            Connect::new(version, "mutated").will("mutated/will", "gone").username("name").bytes(),
            wire::publish(version, "mutated/a", 0, 0, "payload"),
            wire::publish(version, "mutated/b", 1, 2, "payload"),
            wire::publish(version, "mutated/c", 2, 3, "payload"),
            wire::publish(version, "mutated/d", 2, 4, vec![b'x'; 300]),
            wire::retain(version, "mutated/e", 1, 5, "kept"),
            wire::subscribe(version, 6, "mutated/+", 2),
            wire::subscribe(version, 7, "$share/group/mutated/#", 1),
            wire::unsubscribe(version, 8, "mutated/+"),
            wire::packet(0x20, &[&[0, 0][..], &wire::properties(version, &[])].concat()),
            wire::packet(0x90, &[&[0, 6][..], &wire::properties(version, &[]), &[2]].concat()),
            wire::packet(0xB0, &[0, 8]),
            wire::PINGREQ.to_vec(),
            wire::packet(0xD0, &[]),
            wire::DISCONNECT.to_vec(),
        ];
        for (kind, id) in [(kind::PUBACK, 1), (kind::PUBREC, 1), (kind::PUBREL, 3), (kind::PUBCOMP, 1)] {
            packets.push(wire::acknowledge(kind, id));
        }
        if version == V5 {
            packets.extend(of_five());
        }
        Self(packets)
    }

    /// One of the packets, changed.
    pub fn mutated(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.0[random.below(self.0.len())].clone();
        for _ in 0..=random.below(CHANGES_MAX) {
            self.change(&mut bytes, random);
        }
        // Half of them get the length that fits, so that what is inside is looked at, too.
        if random.below(2) == 0 { refit(&bytes) } else { bytes }
    }

    fn change(&self, bytes: &mut Vec<u8>, random: &mut Random) {
        if bytes.is_empty() {
            bytes.push(random.byte());
        }
        let at = random.below(bytes.len());
        let run = at..(at + 1 + random.below(RUN_MAX)).min(bytes.len());
        match random.below(7) {
            0 | 1 => bytes[at] = random.byte(),
            2 => bytes[at] ^= 1 << random.below(8),
            3 => drop(bytes.drain(run)),
            4 => {
                let again = bytes[run].to_vec();
                drop(bytes.splice(at..at, again));
            }
            5 => bytes.insert(at, random.byte()),
            _ => {
                let other = &self.0[random.below(self.0.len())];
                bytes.truncate(at);
                bytes.extend(&other[random.below(other.len())..]);
            }
        }
    }
}

/// Properties, reasons and packets that only 5.0 has.
fn of_five() -> Vec<Vec<u8>> {
    let pair = [&[0x26][..], &wire::text("name"), &wire::text("value")].concat();
    let list = [
        &[0x01, 1, 0x02, 0, 0, 0, 9, 0x23, 0, 1, 0x08][..],
        &wire::text("mutated/answer"),
        &[0x09],
        &wire::text("correlation"),
        &[0x03],
        &wire::text("text/plain"),
        &pair,
    ]
    .concat();
    let subscribe = [&[0, 9][..], &wire::properties(V5, &[0x0B, 0xC8, 0x01]), &wire::text("mutated/#"), &[0x2D]];
    let connect = [0x11, 0, 0, 0, 1, 0x21, 0, 9, 0x22, 0, 9, 0x27, 0, 1, 0, 0, 0x17, 1, 0x19, 1];
    vec![
        Connect::new(V5, "mutated").property(&connect).property(&pair).will("mutated/will", "gone").bytes(),
        wire::publish_with(V5, 0b010, "mutated/f", 10, &list, "payload"),
        wire::publish_with(V5, 0b101, "mutated/g", 11, &list[..7], "payload"),
        wire::packet(0x82, &subscribe.concat()),
        wire::packet(0x40, &[&[0, 1, 0x10][..], &wire::properties(V5, &pair)].concat()),
        wire::packet(0x62, &[&[0, 3, 0x92][..], &wire::properties(V5, &pair)].concat()),
        wire::packet(0xE0, &[&[0x04][..], &wire::properties(V5, &[0x11, 0, 0, 0, 1])].concat()),
        wire::packet(0xF0, &[&[0x18][..], &wire::properties(V5, &[&[0x15][..], &wire::text("m")].concat())].concat()),
    ]
}

/// The same bytes behind a length that counts them.
fn refit(bytes: &[u8]) -> Vec<u8> {
    let Some((&first, rest)) = bytes.split_first() else { return Vec::new() };
    let length = rest.iter().take(4).position(|byte| byte & 0x80 == 0).map_or(0, |last| last + 1);
    wire::packet(first, &rest[length..])
}

/// Whether the length in front is that of what follows: the next packet begins where this one ends.
pub fn framed(bytes: &[u8]) -> bool {
    let mut length = 0;
    for (index, &byte) in bytes.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return bytes.len() == 2 + index + length;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_has_every_type_in_its_honest_length() {
        for version in [wire::V3_1, wire::V3_1_1, V5] {
            let corpus = Corpus::new(version);
            assert!(corpus.0.iter().all(|packet| framed(packet)));
            let last = if version == V5 { 15 } else { 14 };
            for kind in 1..=last {
                assert!(corpus.0.iter().any(|packet| packet[0] >> 4 == kind), "no packet of kind {kind}");
            }
        }
    }

    #[test]
    fn a_seed_gives_the_same_packets_again() {
        let corpus = Corpus::new(V5);
        let packets = |which| {
            let mut random = Random::new(7, which);
            (0..100).map(|_| corpus.mutated(&mut random)).collect::<Vec<_>>()
        };
        assert_eq!(packets(0), packets(0));
        assert_ne!(packets(0), packets(1));
    }
}
