//! Users and the hashes of their passwords.
//!
//! Three forms of a hash are read: argon2 as a PHC string (RFC 9106), PBKDF2 with SHA-512 as `mosquitto_passwd`
//! writes it (`$7$`), and its older salted SHA-512 (`$6$`). What is read is checked: a hash that could never
//! be met, or would take minutes, is an error where it stands and not at the first login.
//!
//! Checking a password takes a processor for as long as its hash was made to take. It is the caller's to
//! do so where nothing waits for it.

use std::collections::HashMap;
use std::num::NonZeroU32;

use argon2::password_hash::SaltString;
use argon2::{Algorithm, Argon2, Params, PasswordHash as Phc, PasswordHasher, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::pbkdf2;
use base64ct::{Base64, Encoding};
use sha2::{Digest, Sha512};

use crate::scram::{MIN_ITERATIONS, NotPrepared};

/// Longest user name or client identifier: what fits into a CONNECT.
const MAX_USER_BYTES: usize = 65_535;
/// Most memory of one argon2 hash, in KiB; RFC 9106 section 4 recommends 64 MiB to 2 GiB, the latter for machines
/// with nothing else to do.
const MAX_ARGON2_KIB: u32 = 1 << 20;
/// Most passes and lanes of one argon2 hash.
const MAX_ARGON2_PASSES: u32 = 64;
const MAX_ARGON2_LANES: u32 = 16;
/// Most iterations of PBKDF2: some seconds. `mosquitto_passwd` writes 101 or 1000 of them, others up to a million.
pub const MAX_PBKDF2_ITERATIONS: u32 = 10_000_000;
/// Most users of one table.
const MAX_USERS: usize = 1_000_000;
/// Shortest result of a hash that means something, in bytes, and the longest of any.
const OUTPUT_BYTES: std::ops::RangeInclusive<usize> = 16..=64;
/// Longest salt, in bytes.
pub(crate) const MAX_SALT_BYTES: usize = 64;
/// Bytes of the salt of a new hash (RFC 9106 section 3.1).
pub const SALT_BYTES: usize = 16;

/// Why a text is no hash of a password. The text itself is in none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// No known form.
    #[error("it is none of `$argon2id$…`, `$7$…` and `$6$…`")]
    Unknown,
    /// `$argon2…` that is none.
    #[error("it is no argon2 hash in PHC form, `$argon2id$v=19$m=…,t=…,p=…$SALT$HASH`")]
    Argon2,
    /// `$7$` that is none.
    #[error("it is no PBKDF2 hash, `$7$ITERATIONS$SALT$HASH`")]
    Pbkdf2,
    /// `$6$` that is none.
    #[error("it is no SHA-512 hash, `$6$SALT$HASH`")]
    Sha512,
    /// `SCRAM-SHA-256$` that is none.
    #[error("it is no SCRAM credential, `SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY`")]
    Scram,
    /// Too few are quick to guess, too many take minutes.
    #[error("its iterations must be {MIN_ITERATIONS} to {MAX_PBKDF2_ITERATIONS}")]
    Iterations,
    /// The hash is too short, too long or has no salt.
    #[error("its salt must have 1 to {MAX_SALT_BYTES} bytes, and its result 16 to 64")]
    Length,
    /// A check would take more than any login may.
    #[error(
        "its cost is above what is computed: {MAX_ARGON2_KIB} KiB, {MAX_ARGON2_PASSES} passes, {MAX_ARGON2_LANES} lanes, or {MAX_PBKDF2_ITERATIONS} iterations"
    )]
    Cost,
}

/// Why a user is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// Nothing before the hash.
    #[error("the user's name is missing")]
    NoName,
    /// Longer than a CONNECT can say.
    #[error("the user's name has more than {MAX_USER_BYTES} bytes")]
    LongName,
    /// It would break a log line, or look like another.
    #[error("the user's name has a control character in it")]
    ControlCharacter,
    /// SCRAM takes no such name.
    #[error(transparent)]
    NotPrepared(#[from] NotPrepared),
    /// Twice the same user: which password holds?
    #[error("the user is there already")]
    Duplicate,
    /// One more than are held.
    #[error("there are more than {MAX_USERS} users")]
    TooMany,
}

/// What is kept of a password, in one of the forms of a mechanism.
pub trait Credential: Sized {
    /// The command that makes one of a password.
    const MADE_BY: &'static str;

    /// Reads one as a configuration or a line of a file has it.
    fn read(text: &str) -> Result<Self, HashError>;

    /// Whether a user of this name could ever show that he has the password.
    fn fits(name: &str) -> Result<(), UserError>;
}

impl Credential for PasswordHash {
    const MADE_BY: &'static str = "postern hash-password";

    fn read(text: &str) -> Result<Self, HashError> {
        Self::parse(text)
    }

    fn fits(_name: &str) -> Result<(), UserError> {
        Ok(())
    }
}

/// The digest under PBKDF2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pbkdf2Digest {
    /// HMAC-SHA-1.
    Sha1,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

/// The hash of one password. Neither it nor the password is in `Debug`.
#[derive(Clone)]
pub struct PasswordHash {
    method: Method,
    salt: Box<[u8]>,
    output: Box<[u8]>,
}

#[derive(Clone)]
enum Method {
    Argon2(Argon2<'static>),
    Pbkdf2 {
        digest: Pbkdf2Digest,
        iterations: NonZeroU32,
    },
    /// One round: quick to guess where the file is stolen.
    SaltedSha512,
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(password hash)")
    }
}

impl PasswordHash {
    /// Reads one of the three forms.
    pub fn parse(text: &str) -> Result<Self, HashError> {
        if text.starts_with("$argon2") {
            return argon2(text);
        }
        if let Some(rest) = text.strip_prefix("$7$") {
            let mut parts = rest.split('$');
            let (Some(iterations), Some(salt), Some(output), None) =
                (parts.next(), parts.next(), parts.next(), parts.next())
            else {
                return Err(HashError::Pbkdf2);
            };
            let iterations = iterations.parse().map_err(|_| HashError::Pbkdf2)?;
            let salt = Base64::decode_vec(salt).map_err(|_| HashError::Pbkdf2)?;
            let output = Base64::decode_vec(output).map_err(|_| HashError::Pbkdf2)?;
            return Self::pbkdf2(Pbkdf2Digest::Sha512, iterations, salt, output);
        }
        if let Some(rest) = text.strip_prefix("$6$") {
            let (salt, output) = rest.split_once('$').ok_or(HashError::Sha512)?;
            let salt = Base64::decode_vec(salt).map_err(|_| HashError::Sha512)?;
            let output = Base64::decode_vec(output).map_err(|_| HashError::Sha512)?;
            if output.len() != 64 {
                return Err(HashError::Sha512);
            }
            return Self::checked(Method::SaltedSha512, salt, output);
        }
        Err(HashError::Unknown)
    }

    /// A PBKDF2 hash (RFC 8018 section 5.2) by its parts.
    pub fn pbkdf2(digest: Pbkdf2Digest, iterations: u32, salt: Vec<u8>, output: Vec<u8>) -> Result<Self, HashError> {
        let iterations = NonZeroU32::new(iterations).ok_or(HashError::Pbkdf2)?;
        if iterations.get() > MAX_PBKDF2_ITERATIONS {
            return Err(HashError::Cost);
        }
        Self::checked(Method::Pbkdf2 { digest, iterations }, salt, output)
    }

    fn checked(method: Method, salt: Vec<u8>, output: Vec<u8>) -> Result<Self, HashError> {
        let fits = (1..=MAX_SALT_BYTES).contains(&salt.len()) && OUTPUT_BYTES.contains(&output.len());
        if fits { Ok(Self { method, salt: salt.into(), output: output.into() }) } else { Err(HashError::Length) }
    }

    /// Whether it is of the kind that a stolen file gives away: one round of a digest.
    pub fn is_weak(&self) -> bool {
        matches!(self.method, Method::SaltedSha512)
    }

    /// Whether this is the password. Takes as long for a wrong one as for the right one.
    pub fn verify(&self, password: &[u8]) -> bool {
        match &self.method {
            Method::Argon2(argon2) => {
                let mut output = vec![0; self.output.len()];
                argon2.hash_password_into(password, &self.salt, &mut output).is_ok()
                    && verify_slices_are_equal(&output, &self.output).is_ok()
            }
            Method::Pbkdf2 { digest, iterations } => {
                let algorithm = match digest {
                    Pbkdf2Digest::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
                    Pbkdf2Digest::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
                    Pbkdf2Digest::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
                };
                pbkdf2::verify(algorithm, *iterations, &self.salt, password, &self.output).is_ok()
            }
            Method::SaltedSha512 => {
                let output = Sha512::new().chain_update(password).chain_update(&self.salt).finalize();
                verify_slices_are_equal(&output, &self.output).is_ok()
            }
        }
    }

    /// Two hashes that take the same time to check have the same one.
    fn cost(&self) -> (u8, u32, u32, u32) {
        match &self.method {
            Method::Argon2(argon2) => {
                let params = argon2.params();
                (2, params.m_cost(), params.t_cost(), params.p_cost())
            }
            Method::Pbkdf2 { digest, iterations } => (1, iterations.get(), *digest as u32, 0),
            Method::SaltedSha512 => (0, 0, 0, 0),
        }
    }

    /// A hash of the same cost that no password is known for.
    fn decoy_of(&self) -> Self {
        Self { output: self.output.iter().map(|byte| !byte).collect(), ..self.clone() }
    }
}

fn argon2(text: &str) -> Result<PasswordHash, HashError> {
    let phc = Phc::new(text).map_err(|_| HashError::Argon2)?;
    let algorithm = Algorithm::try_from(phc.algorithm).map_err(|_| HashError::Argon2)?;
    // A hash without a version is one of 1.0 (RFC 9106 is 1.3).
    let version = phc.version.map_or(Ok(Version::V0x10), Version::try_from).map_err(|_| HashError::Argon2)?;
    let params = Params::try_from(&phc).map_err(|_| HashError::Argon2)?;
    if params.m_cost() > MAX_ARGON2_KIB || params.t_cost() > MAX_ARGON2_PASSES || params.p_cost() > MAX_ARGON2_LANES {
        return Err(HashError::Cost);
    }
    let (Some(salt), Some(output)) = (phc.salt, phc.hash) else { return Err(HashError::Argon2) };
    let mut buffer = [0; MAX_SALT_BYTES];
    let salt = salt.decode_b64(&mut buffer).map_err(|_| HashError::Argon2)?.to_vec();
    // argon2 takes no shorter one, so no password could be right.
    if salt.len() < argon2::MIN_SALT_LEN {
        return Err(HashError::Length);
    }
    PasswordHash::checked(Method::Argon2(Argon2::new(algorithm, version, params)), salt, output.as_bytes().to_vec())
}

/// A new hash of a password as a PHC string: argon2id with 19 MiB, two passes and one lane, the least that OWASP's
/// Password Storage Cheat Sheet recommends. `salt` is random.
pub fn hash_password(password: &[u8], salt: [u8; SALT_BYTES]) -> String {
    let salt = SaltString::encode_b64(&salt).expect("sixteen bytes are a salt");
    let hash = Argon2::default().hash_password(password, &salt);
    hash.expect("the parameters are valid and the password is shorter than 4 GiB").to_string()
}

/// Users by name, each with what is kept of a password: at most a million.
#[derive(Debug, Clone)]
pub struct Users<C = PasswordHash> {
    by_name: HashMap<Box<str>, C>,
}

impl<C> Default for Users<C> {
    fn default() -> Self {
        Self { by_name: HashMap::new() }
    }
}

impl<C: Credential> Users<C> {
    /// Adds a user.
    pub fn add(&mut self, name: &str, credential: C) -> Result<(), UserError> {
        if name.is_empty() {
            return Err(UserError::NoName);
        }
        if name.len() > MAX_USER_BYTES {
            return Err(UserError::LongName);
        }
        if name.contains(char::is_control) {
            return Err(UserError::ControlCharacter);
        }
        C::fits(name)?;
        if self.by_name.contains_key(name) {
            return Err(UserError::Duplicate);
        }
        if self.by_name.len() >= MAX_USERS {
            return Err(UserError::TooMany);
        }
        self.by_name.insert(name.into(), credential);
        Ok(())
    }
}

impl<C> Users<C> {
    /// How many.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// What is kept of a user's password.
    pub fn get(&self, name: &str) -> Option<&C> {
        self.by_name.get(name)
    }

    /// What is kept of all of them, in no order.
    pub fn credentials(&self) -> impl Iterator<Item = &C> {
        self.by_name.values()
    }
}

impl Users {
    /// How many have a hash that is quick to guess.
    pub fn weak(&self) -> usize {
        self.by_name.values().filter(|hash| hash.is_weak()).count()
    }

    /// What an unknown user's password is checked against, so that it takes as long as for a known one: a
    /// hash of the cost that most users have. Where users have hashes of different costs, the time of a
    /// refusal tells them apart.
    pub fn decoy(&self) -> Option<PasswordHash> {
        let mut counts: HashMap<_, (usize, &PasswordHash)> = HashMap::new();
        for hash in self.by_name.values() {
            counts.entry(hash.cost()).or_insert((0, hash)).0 += 1;
        }
        counts.into_iter().max_by_key(|(cost, (count, _))| (*count, *cost)).map(|(_, (_, hash))| hash.decoy_of())
    }
}
