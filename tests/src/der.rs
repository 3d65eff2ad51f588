//! Certificates that no library wants to write: another subject is put into an honest one, byte by byte,
//! and the authority signs the result.

/// A DER element: tag, length in the shortest form, content.
pub fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match content.len() {
        length @ 0..=0x7F => bytes.push(u8::try_from(length).unwrap()),
        length => {
            let digits = length.to_be_bytes().into_iter().skip_while(|&byte| byte == 0).collect::<Vec<_>>();
            bytes.push(0x80 | u8::try_from(digits.len()).unwrap());
            bytes.extend(digits);
        }
    }
    bytes.extend(content);
    bytes
}

/// Splits the first element off: its whole bytes, its content, the rest.
fn split(bytes: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let (header, length) = match bytes[1] {
        short @ 0..=0x7F => (2, usize::from(short)),
        long => {
            let digits = usize::from(long & 0x7F);
            let length = bytes[2..2 + digits].iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
            (2 + digits, length)
        }
    };
    let (whole, rest) = bytes.split_at(header + length);
    (whole, &whole[header..], rest)
}

/// The tags of the string types in names (X.680).
#[allow(missing_docs)]
pub mod tag {
    pub const UTF8: u8 = 0x0C;
    pub const TELETEX: u8 = 0x14;
    pub const UNIVERSAL: u8 = 0x1C;
    pub const BMP: u8 = 0x1E;
}

/// One CN attribute with its value as bytes of the tag's type.
pub fn common_name(tag: u8, value: &[u8]) -> Vec<u8> {
    let oid = element(0x06, &[0x55, 0x04, 0x03]);
    element(0x30, &[oid, element(tag, value)].concat())
}

/// A subject out of RDNs, each a set of attributes.
pub fn subject(rdns: &[&[Vec<u8>]]) -> Vec<u8> {
    let sets = rdns.iter().map(|attributes| element(0x31, &attributes.concat())).collect::<Vec<_>>();
    element(0x30, &sets.concat())
}

/// The content of a certificate's serial number.
pub fn serial(certificate: &[u8]) -> &[u8] {
    // RFC 5280 section 4.1: the version is there in every certificate of version 3.
    let (_, body, _) = split(certificate);
    let (_, fields, _) = split(body);
    let (_, _, behind_version) = split(fields);
    split(behind_version).1
}

/// The certificate with another subject, signed anew.
pub fn with_subject(certificate: &[u8], subject: &[u8], sign: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    // RFC 5280 section 4.1: version, serialNumber, signature, issuer, validity, subject.
    const SUBJECT: usize = 5;
    let (_, body, _) = split(certificate);
    let (_, mut fields, rest) = split(body);
    let (algorithm, _, _) = split(rest);
    let mut to_be_signed = Vec::new();
    for index in 0.. {
        if fields.is_empty() {
            break;
        }
        let (whole, _, rest) = split(fields);
        to_be_signed.extend(if index == SUBJECT { subject } else { whole });
        fields = rest;
    }
    let to_be_signed = element(0x30, &to_be_signed);
    let signature = element(0x03, &[&[0][..], &sign(&to_be_signed)].concat());
    element(0x30, &[&to_be_signed[..], algorithm, &signature].concat())
}
