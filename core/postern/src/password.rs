//! `postern hash-password`.

use std::io::{BufRead, Read};
use std::process::ExitCode;

use postern_identity::credentials::{SALT_BYTES, hash_password};
use postern_identity::scram::{NotPrepared, ScramCredential};
use zeroize::Zeroizing;

/// Longest password, in bytes: what fits into a CONNECT.
const PASSWORD_BYTES_MAX: u64 = 65_535;

/// Reads a line and writes the hash; with `scram_iterations` that of SCRAM.
pub(crate) fn hash(scram_iterations: Option<u32>) -> ExitCode {
    match read().and_then(|password| {
        let mut salt = [0; SALT_BYTES];
        aws_lc_rs::rand::fill(&mut salt).map_err(|_| "the operating system gives no random bytes".to_owned())?;
        match scram_iterations {
            None => Ok(hash_password(&password, salt)),
            Some(iterations) => for_scram(&password, salt, iterations),
        }
    }) {
        Ok(hash) => {
            println!("{hash}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("error: {text}");
            ExitCode::FAILURE
        }
    }
}

fn for_scram(password: &[u8], salt: [u8; SALT_BYTES], iterations: u32) -> Result<String, String> {
    let text = std::str::from_utf8(password).map_err(|_| NotPrepared.to_string())?;
    let credential =
        ScramCredential::of_password(text, salt.to_vec(), iterations).map_err(|error| error.to_string())?;
    Ok(credential.to_line())
}

fn read() -> Result<Zeroizing<Vec<u8>>, String> {
    let mut password = Zeroizing::new(Vec::new());
    let mut input = std::io::stdin().lock().take(PASSWORD_BYTES_MAX + 2);
    input.read_until(b'\n', &mut password).map_err(|error| format!("standard input: {error}"))?;
    if password.ends_with(b"\n") {
        password.pop();
        if password.ends_with(b"\r") {
            password.pop();
        }
    }
    match password.len() as u64 {
        0 => Err("the password is empty: write it to standard input".to_owned()),
        n if n > PASSWORD_BYTES_MAX => Err(format!("the password has more than {PASSWORD_BYTES_MAX} bytes")),
        _ => Ok(password),
    }
}
