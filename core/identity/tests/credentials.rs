//! Hashes of passwords: each form, what is wrong with a malformed one, and who gets in.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use postern_identity::credentials::{HashError, PasswordHash, Pbkdf2Digest, UserError, Users, hash_password};

/// The reference implementation's own vector: "password" with the salt "somesalt".
const ARGON2: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
/// By Python's hashlib, for "secret" with the salt "0123456789ab".
const PBKDF2: &str =
    "$7$101$MDEyMzQ1Njc4OWFi$EO/lLlkeUgIiBaS8G8UK0ZMP1u508TA7Tl+AdJ1cEsmlbGyEPAERErpfq84j1kepISs0UzmcdL4ucgZ2uodxfQ==";
const SHA512: &str =
    "$6$MDEyMzQ1Njc4OWFi$qEXipeLbgxRlwd06QHfY5WITkUZg0jLg9SZbXzq3ifXjfj+v3GbJGrSfC5PAg3UNCS+UFfbhUIZX4bmIAs330w==";

#[test]
fn each_form_takes_its_password_and_no_other() {
    for (text, password) in [(ARGON2, "password"), (PBKDF2, "secret"), (SHA512, "secret")] {
        let hash = PasswordHash::parse(text).unwrap();
        assert!(hash.verify(password.as_bytes()), "{text}");
        for wrong in ["", "Password", "secret ", "secre", text] {
            assert!(!hash.verify(wrong.as_bytes()), "{text} {wrong}");
        }
        assert_eq!(hash.is_weak(), text == SHA512);
    }
}

#[test]
fn pbkdf2_is_taken_in_its_parts_too() {
    let output = [
        0xb9, 0x86, 0x33, 0xcf, 0x8e, 0xc6, 0x70, 0x8b, 0x2d, 0x9e, 0xee, 0x12, 0xd4, 0x0a, 0x10, 0xd6, 0x80, 0x54,
        0xca, 0x10, 0x5a, 0x5b, 0x0c, 0xf8, 0x7b, 0x50, 0xd8, 0xe5, 0x32, 0xa7, 0x9a, 0xed,
    ];
    let of = |iterations| {
        PasswordHash::pbkdf2(Pbkdf2Digest::Sha256, iterations, b"e378187547bf2d6f".to_vec(), output.to_vec())
    };
    assert!(of(4096).unwrap().verify(b"secret"));
    assert!(!of(4095).unwrap().verify(b"secret"));
    assert_eq!(of(0).unwrap_err(), HashError::Pbkdf2);
    assert_eq!(of(10_000_001).unwrap_err(), HashError::Cost);
}

#[test]
fn a_new_hash_takes_the_password_that_it_was_made_of() {
    let text = hash_password(b"open sesame", [7; 16]);
    assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
    let hash = PasswordHash::parse(&text).unwrap();
    assert!(hash.verify(b"open sesame") && !hash.verify(b"open Sesame"));
    assert_ne!(hash_password(b"open sesame", [8; 16]), text, "another salt");
}

#[test]
fn cve_2018_12551_a_malformed_hash_is_an_error_and_no_user() {
    for (text, error) in [
        ("", HashError::Unknown),
        ("secret", HashError::Unknown),
        ("$2b$12$abcdefghijklmnopqrstuv", HashError::Unknown),
        ("$7$101$MDEyMzQ1Njc4OWFi", HashError::Pbkdf2),
        ("$7$many$MDEyMzQ1Njc4OWFi$EO/lLlkeUgIiBaS8G8UK0Q==", HashError::Pbkdf2),
        ("$7$0$MDEyMzQ1Njc4OWFi$EO/lLlkeUgIiBaS8G8UK0Q==", HashError::Pbkdf2),
        ("$7$101$MDEyMzQ1Njc4OWFi$not base64", HashError::Pbkdf2),
        ("$7$101$MDEyMzQ1Njc4OWFi$EO/lLlkeUgIiBaS8G8UK0Q==$more", HashError::Pbkdf2),
        ("$7$101$$EO/lLlkeUgIiBaS8G8UK0Q==", HashError::Length),
        ("$7$101$MDEyMzQ1Njc4OWFi$", HashError::Length),
        ("$7$101$MDEyMzQ1Njc4OWFi$EO/lLg==", HashError::Length),
        ("$7$4294967295$MDEyMzQ1Njc4OWFi$EO/lLlkeUgIiBaS8G8UK0Q==", HashError::Cost),
        ("$6$MDEyMzQ1Njc4OWFi", HashError::Sha512),
        ("$6$MDEyMzQ1Njc4OWFi$EO/lLlkeUgIiBaS8G8UK0Q==", HashError::Sha512),
        ("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ", HashError::Argon2),
        ("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$", HashError::Argon2),
        ("$argon2id$v=19$m=1,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", HashError::Argon2),
        ("$argon2id$v=19$m=2097152,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", HashError::Cost),
        ("$argon2id$v=19$m=256,t=200,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", HashError::Cost),
        ("$argon2x$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", HashError::Argon2),
    ] {
        assert_eq!(PasswordHash::parse(text).map(|_| ()), Err(error), "{text}");
    }
}

#[test]
fn users_are_there_once_and_have_names() {
    let hash = || PasswordHash::parse(SHA512).unwrap();
    let mut users = Users::default();
    assert!(users.is_empty() && users.decoy().is_none());
    users.add("alice", hash()).unwrap();
    for (name, error) in [
        ("alice", UserError::Duplicate),
        ("", UserError::NoName),
        ("a\nb", UserError::ControlCharacter),
        (&*"x".repeat(65_536), UserError::LongName),
    ] {
        assert_eq!(users.add(name, hash()), Err(error));
    }
    users.add("Alice", hash()).unwrap();
    assert_eq!((users.len(), users.weak()), (2, 2));
    assert!(users.get("alice").is_some() && users.get("bob").is_none());
}

#[test]
fn the_decoy_costs_what_most_users_cost_and_takes_no_password() {
    let mut users = Users::default();
    users.add("a", PasswordHash::parse(ARGON2).unwrap()).unwrap();
    assert!(!users.decoy().unwrap().verify(b"password"), "not even that of the user it was made from");
    for name in ["b", "c"] {
        users.add(name, PasswordHash::parse(SHA512).unwrap()).unwrap();
    }
    assert!(users.decoy().unwrap().is_weak());
}

#[test]
fn hashes_are_in_no_debug_text() {
    let mut users = Users::default();
    users.add("alice", PasswordHash::parse(ARGON2).unwrap()).unwrap();
    assert!(!format!("{users:?}").contains("c29t") && format!("{users:?}").contains("alice"));
}
