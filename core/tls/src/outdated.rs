//! Keys that older programs encrypted: PKCS#8 with PBES1 (RFC 8018 section 6.1, RFC 7292 appendix C), and the PEM headers
//! of RFC 1421 that OpenSSL writes for `-traditional`. They open, because people have them; each derives its key by so
//! little work that a password is soon guessed.
//!
//! Of what OpenSSL can write, MD2, RC2 and RC4 are not read. Everything that is derived is wiped.

use aes::{Aes128, Aes192, Aes256};
use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipher, BlockDecryptMut, KeyInit, KeyIvInit};
use des::{Des, TdesEde2, TdesEde3};
use md5::Md5;
use pkcs8::ObjectIdentifier;
use pkcs8::der::asn1::{AnyRef, OctetStringRef};
use pkcs8::der::{Decode, Reader, SliceReader};
use pkcs8::spki::AlgorithmIdentifierRef;
use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

use crate::bundle::BundleFault;
use crate::pem::Headers;

/// Most rounds of a key derivation. OpenSSL writes 2048, and a million takes a second.
const MAX_ROUNDS: u32 = 10_000_000;
/// Bytes of salt that `EVP_BytesToKey` takes of the initialisation vector.
const SALT_BYTES: usize = 8;

/// Wiped when dropped.
type Wiped = Zeroizing<Vec<u8>>;

/// A cipher in CBC mode, by its name in `DEK-Info`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cipher {
    Aes128,
    Aes192,
    Aes256,
    Des,
    TwoKeyTripleDes,
    TripleDes,
}

impl Cipher {
    fn of_dek_info(name: &str) -> Option<Self> {
        match name {
            "AES-128-CBC" => Some(Self::Aes128),
            "AES-192-CBC" => Some(Self::Aes192),
            "AES-256-CBC" => Some(Self::Aes256),
            "DES-CBC" => Some(Self::Des),
            "DES-EDE3-CBC" => Some(Self::TripleDes),
            _ => None,
        }
    }

    fn key_bytes(self) -> usize {
        match self {
            Self::Des => 8,
            Self::Aes128 | Self::TwoKeyTripleDes => 16,
            Self::Aes192 | Self::TripleDes => 24,
            Self::Aes256 => 32,
        }
    }

    fn block_bytes(self) -> usize {
        match self {
            Self::Des | Self::TwoKeyTripleDes | Self::TripleDes => 8,
            Self::Aes128 | Self::Aes192 | Self::Aes256 => 16,
        }
    }

    /// None where the padding is wrong: so a wrong password shows most of the time.
    fn decrypt(self, key: &[u8], iv: &[u8], content: &[u8]) -> Option<Wiped> {
        match self {
            Self::Aes128 => cbc::<Aes128>(key, iv, content),
            Self::Aes192 => cbc::<Aes192>(key, iv, content),
            Self::Aes256 => cbc::<Aes256>(key, iv, content),
            Self::Des => cbc::<Des>(key, iv, content),
            Self::TwoKeyTripleDes => cbc::<TdesEde2>(key, iv, content),
            Self::TripleDes => cbc::<TdesEde3>(key, iv, content),
        }
    }
}

fn cbc<C: BlockDecryptMut + BlockCipher + KeyInit>(key: &[u8], iv: &[u8], content: &[u8]) -> Option<Wiped> {
    let mut plain = Zeroizing::new(content.to_vec());
    let decryptor = Decryptor::<C>::new_from_slices(key, iv).ok()?;
    let length = decryptor.decrypt_padded_mut::<Pkcs7>(&mut plain).ok()?.len();
    plain.truncate(length);
    Some(plain)
}

// ---- PEM headers (RFC 1421) --------------------------------------------------------------------------------

/// Opens a key of the old PEM form: PKCS#1 or SEC1, as the section's label says.
pub(crate) fn open_pem(headers: &Headers, content: &[u8], password: &[u8]) -> Result<Wiped, BundleFault> {
    let broken = |what| BundleFault::KeyHeaders { what };
    let info = headers.dek_info.as_deref().ok_or(broken("the line `DEK-Info` is missing"))?;
    let (name, iv) = info.split_once(',').ok_or(broken("`DEK-Info` has no initialisation vector"))?;
    let cipher = Cipher::of_dek_info(name.trim()).ok_or(BundleFault::KeyEncryption)?;
    let iv = hexadecimal(iv.trim()).ok_or(broken("the initialisation vector is not hexadecimal"))?;
    if iv.len() != cipher.block_bytes() {
        return Err(broken("the initialisation vector is not as long as a block of the cipher"));
    }
    let key = bytes_to_key(password, &iv[..SALT_BYTES], cipher.key_bytes());
    cipher.decrypt(&key, &iv, content).ok_or(BundleFault::WrongPassword)
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits?;
    (digits.len() % 2 == 0).then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// OpenSSL's `EVP_BytesToKey` with MD5 and one round: hash upon hash until there is enough.
fn bytes_to_key(password: &[u8], salt: &[u8], wanted: usize) -> Wiped {
    let mut key = Zeroizing::new(Vec::with_capacity(wanted + <Md5 as Digest>::output_size()));
    while key.len() < wanted {
        let before = key.len().saturating_sub(<Md5 as Digest>::output_size());
        let mut hash = Md5::new();
        hash.update(&key[before..]);
        hash.update(password);
        hash.update(salt);
        let next = wiped::<16>(hash.finalize().into());
        key.extend_from_slice(next.as_slice());
    }
    key.truncate(wanted);
    key
}

fn wiped<const N: usize>(bytes: [u8; N]) -> Zeroizing<[u8; N]> {
    Zeroizing::new(bytes)
}

// ---- PKCS#8 with PBES1 -------------------------------------------------------------------------------------

/// How one of the algorithms makes key and initialisation vector.
#[derive(Clone, Copy)]
enum Derivation {
    /// PBKDF1 with MD5 (RFC 8018 section 5.1): eight bytes of key, eight of vector.
    Md5,
    /// The same with SHA-1.
    Sha1,
    /// RFC 7292 appendix B, with SHA-1.
    Pkcs12,
}

const ALGORITHMS: [(ObjectIdentifier, Cipher, Derivation, &str); 4] = [
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.3"), Cipher::Des, Derivation::Md5, "PBE-MD5-DES"),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.10"), Cipher::Des, Derivation::Sha1, "PBE-SHA1-DES"),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.3"), Cipher::TripleDes, Derivation::Pkcs12, "PBE-SHA1-3DES"),
    (
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.4"),
        Cipher::TwoKeyTripleDes,
        Derivation::Pkcs12,
        "PBE-SHA1-2DES",
    ),
];

/// Opens an `EncryptedPrivateKeyInfo` (RFC 5958 section 3) of an old algorithm, and says which it is in OpenSSL's word.
pub(crate) fn open_pkcs8(der: &[u8], password: &[u8]) -> Result<(Wiped, &'static str), BundleFault> {
    let (algorithm, content) = encrypted_info(der).map_err(|_| BundleFault::UnusableKey)?;
    let known = ALGORITHMS.iter().find(|(oid, ..)| *oid == algorithm.oid);
    let (_, cipher, derivation, word) = *known.ok_or(BundleFault::KeyEncryption)?;
    let (salt, rounds) = parameters(algorithm.parameters).ok_or(BundleFault::UnusableKey)?;
    if !(1..=MAX_ROUNDS).contains(&rounds) {
        return Err(BundleFault::KeyRounds { found: rounds, max: MAX_ROUNDS });
    }
    let (key, iv) = match derivation {
        Derivation::Md5 => pbkdf1::<Md5>(password, salt, rounds),
        Derivation::Sha1 => pbkdf1::<Sha1>(password, salt, rounds),
        Derivation::Pkcs12 => {
            let password = bmp_string(password);
            let make = |purpose, wanted| pkcs12_kdf(&password, salt, rounds, purpose, wanted);
            (make(FOR_KEY, cipher.key_bytes()), make(FOR_IV, cipher.block_bytes()))
        }
    };
    let plain = cipher.decrypt(&key, &iv, content).ok_or(BundleFault::WrongPassword)?;
    Ok((plain, word))
}

fn encrypted_info(der: &[u8]) -> pkcs8::der::Result<(AlgorithmIdentifierRef<'_>, &[u8])> {
    let mut reader = SliceReader::new(der)?;
    let found = reader.sequence(|inner| {
        let algorithm = AlgorithmIdentifierRef::decode(inner)?;
        Ok((algorithm, OctetStringRef::decode(inner)?.as_bytes()))
    })?;
    reader.finish(found)
}

/// `PBEParameter`, and `pkcs-12PbeParams`, which looks the same.
fn parameters(parameters: Option<AnyRef<'_>>) -> Option<(&[u8], u32)> {
    parameters?.sequence(|inner| Ok((OctetStringRef::decode(inner)?.as_bytes(), u32::decode(inner)?))).ok()
}

fn pbkdf1<D: Digest>(password: &[u8], salt: &[u8], rounds: u32) -> (Wiped, Wiped) {
    let mut hash = D::new();
    hash.update(password);
    hash.update(salt);
    let mut derived = Zeroizing::new(hash.finalize().to_vec());
    for _ in 1..rounds {
        let next = D::digest(derived.as_slice());
        derived.copy_from_slice(&next);
    }
    (Zeroizing::new(derived[..8].to_vec()), Zeroizing::new(derived[8..16].to_vec()))
}

/// What is derived, in the terms of RFC 7292 appendix B.3.
const FOR_KEY: u8 = 1;
const FOR_IV: u8 = 2;

/// RFC 7292 appendix B.2 with SHA-1. The names of the RFC: `D` is the purpose, `I` the salt and the password, each
/// repeated to a whole number of hash blocks.
fn pkcs12_kdf(password: &[u8], salt: &[u8], rounds: u32, purpose: u8, wanted: usize) -> Wiped {
    const BLOCK: usize = 64;
    let repeated = |text: &[u8]| -> Wiped {
        let length = text.len().div_ceil(BLOCK) * BLOCK;
        Zeroizing::new(text.iter().copied().cycle().take(length).collect())
    };
    let mut input = Zeroizing::new([repeated(salt).as_slice(), &repeated(password)].concat());
    let mut output = Zeroizing::new(Vec::with_capacity(wanted + BLOCK));
    while output.len() < wanted {
        let mut first = Sha1::new();
        first.update([purpose; BLOCK]);
        first.update(input.as_slice());
        let mut hash = wiped::<20>(first.finalize().into());
        for _ in 1..rounds {
            *hash = Sha1::digest(hash.as_slice()).into();
        }
        output.extend_from_slice(hash.as_slice());
        // Each block of the input, plus the hash repeated to a block, plus one, without what overflows.
        for block in input.chunks_mut(BLOCK) {
            let mut carry = 1u16;
            for (place, byte) in block.iter_mut().enumerate().rev() {
                carry += u16::from(*byte) + u16::from(hash[place % hash.len()]);
                [_, *byte] = carry.to_be_bytes();
                carry >>= 8;
            }
        }
    }
    output.truncate(wanted);
    output
}

/// The password as RFC 7292 appendix B.1 wants it: UTF-16, big-endian, with two zero bytes behind. One that is not UTF-8
/// is taken byte by byte, as OpenSSL does.
fn bmp_string(password: &[u8]) -> Wiped {
    let mut out = Zeroizing::new(Vec::with_capacity(2 * password.len() + 2));
    match std::str::from_utf8(password) {
        Ok(text) => out.extend(text.encode_utf16().flat_map(u16::to_be_bytes)),
        Err(_) => out.extend(password.iter().flat_map(|&byte| [0, byte])),
    }
    out.extend([0, 0]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_derivations_are_those_of_openssl() {
        // openssl enc -aes-256-cbc -md md5 -pass pass:correct -S 0102030405060708 -P
        let key = bytes_to_key(b"correct", &[1, 2, 3, 4, 5, 6, 7, 8], 32);
        assert_eq!(key.as_slice(), hexadecimal(OPENSSL_KEY).unwrap());
        assert_eq!(bmp_string("a\u{e9}".as_bytes()).as_slice(), [0, b'a', 0, 0xE9, 0, 0]);
        assert_eq!(bmp_string(&[b'a', 0xE9]).as_slice(), [0, b'a', 0, 0xE9, 0, 0]);
    }

    const OPENSSL_KEY: &str = "42EF8D32D44649BA7D27AC5F01DA38A09881CCFED4EAA919C4C13306A2E50E8C";
}
