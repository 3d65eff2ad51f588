//! Writes X.509 certificates byte by byte, also such as no CA would sign. The signature is four bytes of
//! nothing: reading facts verifies none.

pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let len = u32::try_from(content.len()).expect("short").to_be_bytes();
    match len {
        [0, 0, 0, short @ ..=0x7F] => out.push(short),
        [0, 0, 0, low] => out.extend([0x81, low]),
        [0, 0, high, low] => out.extend([0x82, high, low]),
        [_, top, high, low] => out.extend([0x83, top, high, low]),
    }
    out.extend_from_slice(content);
    out
}

pub(crate) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

pub(crate) const UTF8: u8 = 0x0C;
pub(crate) const PRINTABLE: u8 = 0x13;
pub(crate) const TELETEX: u8 = 0x14;
pub(crate) const IA5: u8 = 0x16;
pub(crate) const UNIVERSAL: u8 = 0x1C;
pub(crate) const BMP: u8 = 0x1E;

pub(crate) const CN: &[u8] = &[0x55, 4, 3];
pub(crate) const O: &[u8] = &[0x55, 4, 10];
pub(crate) const C: &[u8] = &[0x55, 4, 6];
/// 1.2.3.4
pub(crate) const PRIVATE: &[u8] = &[0x2A, 3, 4];

pub(crate) fn attribute(oid: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
    sequence(&[tlv(6, oid), tlv(tag, value)])
}

pub(crate) fn rdn(attributes: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x31, &attributes.concat())
}

/// One RDN with a common name.
pub(crate) fn cn(tag: u8, value: &[u8]) -> Vec<u8> {
    rdn(&[attribute(CN, tag, value)])
}

pub(crate) fn extension(oid: &[u8], value: &[u8]) -> Vec<u8> {
    sequence(&[tlv(6, oid), tlv(4, value)])
}

/// The `SubjectAltName` extension with these `GeneralName`s.
pub(crate) fn sans(names: &[Vec<u8>]) -> Vec<u8> {
    extension(&[0x55, 0x1D, 17], &sequence(names))
}

pub(crate) fn key_usages(oids: &[&[u8]]) -> Vec<u8> {
    let oids: Vec<Vec<u8>> = oids.iter().map(|oid| tlv(6, oid)).collect();
    extension(&[0x55, 0x1D, 37], &sequence(&oids))
}

pub(crate) struct Cert {
    pub(crate) serial: Vec<u8>,
    pub(crate) subject: Vec<Vec<u8>>,
    pub(crate) extensions: Vec<Vec<u8>>,
}

impl Cert {
    pub(crate) fn subject(rdns: &[Vec<u8>]) -> Self {
        Self { serial: vec![7], subject: rdns.to_vec(), extensions: Vec::new() }
    }

    pub(crate) fn extensions(extensions: &[Vec<u8>]) -> Self {
        Self { extensions: extensions.to_vec(), ..Self::subject(&[cn(UTF8, b"device")]) }
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        let ed25519 = sequence(&[tlv(6, &[0x2B, 0x65, 0x70])]);
        let mut tbs = vec![
            tlv(0xA0, &tlv(2, &[2])),
            tlv(2, &self.serial),
            ed25519.clone(),
            sequence(&[cn(UTF8, b"Test CA")]),
            sequence(&[tlv(0x17, b"260101000000Z"), tlv(0x18, b"20560101000000Z")]),
            sequence(&self.subject),
            sequence(&[ed25519.clone(), tlv(3, &[[0].as_slice(), &[9; 32]].concat())]),
        ];
        if !self.extensions.is_empty() {
            tbs.push(tlv(0xA3, &sequence(&self.extensions)));
        }
        sequence(&[sequence(&tbs), ed25519, tlv(3, &[0, 1, 2, 3, 4])])
    }
}
