//! What is kept of a password for SCRAM, and what is wrong with a malformed line.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use postern_identity::Users;
use postern_identity::credentials::{Credential, HashError, UserError};
use postern_identity::scram::{NotPrepared, ScramCredential, is_prepared};

/// By Python's hashlib and hmac, for "pencil" with the salt and count of RFC 7677 section 3.
const LINE: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

#[test]
fn a_line_is_what_is_kept_of_its_password() {
    let kept = ScramCredential::read(LINE).unwrap();
    let salt = vec![0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81];
    assert!(kept == ScramCredential::of_password("pencil", salt.clone(), 4096).unwrap());
    assert!(kept != ScramCredential::of_password("Pencil", salt, 4096).unwrap());
    assert_eq!(kept.to_line(), LINE);
}

#[test]
fn cve_2018_12551_a_malformed_line_is_an_error_and_no_user() {
    let (head, keys) = LINE.rsplit_once('$').unwrap();
    let (stored, server) = keys.split_once(':').unwrap();
    for (text, error) in [
        (String::new(), HashError::Scram),
        ("pencil".to_owned(), HashError::Scram),
        ("$7$101$MDEyMzQ1Njc4OWFi$x".to_owned(), HashError::Scram),
        (LINE.replace("256", "512"), HashError::Scram),
        (head.to_owned(), HashError::Scram),
        (format!("{head}${stored}"), HashError::Scram),
        (format!("{head}${stored}:"), HashError::Scram),
        (format!("{head}$:{server}"), HashError::Scram),
        (format!("{LINE}:{server}"), HashError::Scram),
        (LINE.replace("=:", ":"), HashError::Scram),
        (LINE.replace("4096", "many"), HashError::Scram),
        (LINE.replace("4096", "-1"), HashError::Scram),
        (LINE.replace("4096", "4095"), HashError::Iterations),
        (LINE.replace("4096", "10000001"), HashError::Iterations),
        (LINE.replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""), HashError::Length),
        (LINE.replace("W22ZaJ0SNY7soEsUEjb6gQ==", &"AAAA".repeat(22)), HashError::Length),
    ] {
        assert_eq!(ScramCredential::read(&text).err(), Some(error), "{text}");
    }
}

#[test]
fn what_saslprep_might_change_is_refused() {
    for text in ["pencil", " ", "a b~!", "=,"] {
        assert!(is_prepared(text), "{text}");
    }
    // Nothing, a control character, a soft hyphen (RFC 4013 maps it to nothing), and U+2168, which becomes "IX".
    for text in ["", "a\tb", "\u{7f}", "I\u{ad}X", "\u{2168}", "p\u{e4}ss"] {
        assert!(!is_prepared(text), "{text:?}");
        assert_eq!(ScramCredential::of_password(text, vec![1], 4096).err(), Some(NotPrepared));
    }
    let mut users = Users::default();
    let mut add = |name| users.add(name, ScramCredential::read(LINE).unwrap());
    assert_eq!(add("p\u{e4}ul"), Err(UserError::NotPrepared(NotPrepared)));
    assert_eq!((add("paul"), add("paul")), (Ok(()), Err(UserError::Duplicate)));
}
