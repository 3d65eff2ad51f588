//! `authentication`: who has which password.

use postern_identity::Users;
use postern_identity::credentials::{Credential, MAX_PBKDF2_ITERATIONS, Pbkdf2Digest};

use super::scram;
use crate::access::{Authentication, HashForm, UserBase, UserFile, UserFileForm, UserIdType};
use crate::emqx;
use crate::problem::Spanned;
use crate::reader::{Item, Reader, Section, shown};
use crate::value::Value;

/// Most entries: each may cost a login one more look.
const MAX_ENTRIES: usize = 8;
/// Most users in the configuration itself; more belong into a file.
const MAX_INLINE_USERS: usize = 10_000;

const USER_ID_TYPES: [(&str, UserIdType); 2] = [("username", UserIdType::Username), ("clientid", UserIdType::ClientId)];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mechanism {
    PasswordBased,
    Scram,
}

/// Where users are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Backend {
    File,
    /// In the configuration itself.
    BuiltIn,
}

/// The enabled entries.
pub(super) fn all(reader: &mut Reader<'_>, item: &Item<'_>) -> Authentication {
    let mut all = Authentication::default();
    let Some(items) = one_or_more(reader, item) else { return all };
    if items.len() > MAX_ENTRIES {
        reader.wrong(item, format!("{} entries, at most {MAX_ENTRIES} are asked", items.len()), None);
    }
    for item in &items {
        entry(reader, item, &mut all);
    }
    all
}

/// A list, or the one object that would be its only entry, as EMQX takes it.
fn one_or_more<'n>(reader: &mut Reader<'_>, item: &Item<'n>) -> Option<Vec<Item<'n>>> {
    if matches!(item.node.value, Value::Object(_)) { Some(vec![item.clone()]) } else { reader.list(item) }
}

fn entry(reader: &mut Reader<'_>, item: &Item<'_>, all: &mut Authentication) {
    let Some(mut section) = reader.section(item) else { return };
    let mechanism = mechanism(reader, &mut section, item);
    let Some(backend) = backend(reader, &mut section, item) else { return };
    match mechanism {
        None => {}
        Some(Mechanism::PasswordBased) => all.passwords.extend(user_base(reader, section, item, backend)),
        Some(Mechanism::Scram) => {
            let Some(base) = scram::base(reader, section, item, backend) else { return };
            if all.scram.replace(base).is_some() {
                reader.wrong(item, "there is an entry for scram already", Some("write all its users into one"));
            }
        }
    }
}

fn user_base(reader: &mut Reader<'_>, mut section: Section<'_>, item: &Item<'_>, backend: Backend) -> Option<UserBase> {
    let enable = section.take("enable").and_then(|item| reader.boolean(&item)).unwrap_or(true);
    let user_id_type = section.take("user_id_type");
    let user_id_type = user_id_type.and_then(|item| reader.word(&item, &USER_ID_TYPES)).unwrap_or_default();
    let (users, file) = match backend {
        Backend::File => (Users::default(), password_file(reader, &mut section, item)),
        Backend::BuiltIn => built_in(reader, &mut section, item),
    };
    reader.finish(&section, emqx::AUTHENTICATION);
    let (path, at) = (item.path.clone(), reader.origin(item.node.at));
    enable.then_some(UserBase { path, at, user_id_type, users, file })
}

pub(super) fn missing(reader: &mut Reader<'_>, section: &Section<'_>, item: &Item<'_>, key: &'static str, hint: &str) {
    if !section.misspelt(&[key]) {
        reader.problem(item.node.at, &item.path, format!("`{key}` is missing"), Some(hint));
    }
}

/// None where it is nothing that there is.
fn mechanism(reader: &mut Reader<'_>, section: &mut Section<'_>, item: &Item<'_>) -> Option<Mechanism> {
    const HINT: &str = "write `mechanism = password_based` or `mechanism = scram`";
    let Some(mechanism) = section.take("mechanism") else {
        missing(reader, section, item, "mechanism", HINT);
        return None;
    };
    match reader.text(&mechanism)?.as_str() {
        "password_based" => return Some(Mechanism::PasswordBased),
        "scram" => return Some(Mechanism::Scram),
        word if emqx::MECHANISMS.contains(&word) => {
            let text = format!("`{word}` is not supported yet by this version of Postern");
            reader.wrong(&mechanism, text, Some(HINT));
        }
        word => reader.wrong(&mechanism, format!("{} is no mechanism", shown(word)), Some(HINT)),
    }
    None
}

/// None where it is nothing that there is.
fn backend(reader: &mut Reader<'_>, section: &mut Section<'_>, item: &Item<'_>) -> Option<Backend> {
    const HINT: &str = "write `backend = file` or `backend = built_in_database`";
    let Some(backend) = section.take("backend") else {
        missing(reader, section, item, "backend", HINT);
        return None;
    };
    let word = reader.text(&backend)?;
    match word.as_str() {
        "file" => return Some(Backend::File),
        "built_in_database" => return Some(Backend::BuiltIn),
        _ if emqx::BACKENDS.contains(&word.as_str()) => {
            reader.wrong(&backend, format!("`{word}` is not supported yet by this version of Postern"), Some(HINT));
        }
        _ => reader.wrong(&backend, format!("{} is no backend", shown(&word)), Some(HINT)),
    }
    None
}

/// `users = "PATH"`.
fn password_file(reader: &mut Reader<'_>, section: &mut Section<'_>, item: &Item<'_>) -> Option<Spanned<UserFile>> {
    let Some(users) = section.take("users") else {
        missing(reader, section, item, "users", "name a file with lines of `NAME:HASH`: `users = \"etc/users\"`");
        return None;
    };
    let path = super::path(reader, &users)?;
    Some(Spanned { value: UserFile { path, form: UserFileForm::Lines }, at: reader.origin(users.node.at) })
}

fn built_in(reader: &mut Reader<'_>, section: &mut Section<'_>, item: &Item<'_>) -> (Users, Option<Spanned<UserFile>>) {
    let form =
        section.take("password_hash_algorithm").map_or(Some(HashForm::SelfDescribing), |a| hash_form(reader, &a));
    if let Some(kind) = section.take("bootstrap_type")
        && let Some(word) = reader.text(&kind)
        && word != "hash"
    {
        let text = format!("{}: passwords are not read, only their hashes", shown(&word));
        reader.wrong(&kind, text, Some("hash them with `postern hash-password`, and remove this key"));
    }
    let inline = section.take("users");
    let bootstrap = section.take("bootstrap_file");
    if inline.is_none() && bootstrap.is_none() {
        let hint = "write `users = [{ user_id = …, password_hash = … }]`, or name a `bootstrap_file`";
        missing(reader, section, item, "users", hint);
    }
    let users = inline.map(|item| inline_users(reader, &item)).unwrap_or_default();
    let file = bootstrap.and_then(|item| bootstrap_file(reader, &item, form?));
    (users, file)
}

fn bootstrap_file(reader: &mut Reader<'_>, item: &Item<'_>, hashes: HashForm) -> Option<Spanned<UserFile>> {
    let path = super::path(reader, item)?;
    let form = match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => UserFileForm::Csv(hashes),
        Some("json") => UserFileForm::Json(hashes),
        _ => {
            reader.wrong(
                item,
                "is neither a `.csv` nor a `.json` file",
                Some("for lines of `NAME:HASH`, use `backend = file`"),
            );
            return None;
        }
    };
    Some(Spanned { value: UserFile { path, form }, at: reader.origin(item.node.at) })
}

fn hash_form(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<HashForm> {
    const HINT: &str = "write `{ name = argon2id }` or `{ name = pbkdf2, mac_fun = sha256, iterations = … }`";
    let mut section = reader.section(item)?;
    let Some(name) = section.take("name") else {
        missing(reader, &section, item, "name", HINT);
        return None;
    };
    let word = reader.text(&name)?;
    let form = match word.as_str() {
        "argon2id" => HashForm::SelfDescribing,
        "pbkdf2" => pbkdf2(reader, &mut section, item)?,
        "plain" | "md5" | "sha" | "sha256" | "sha512" => {
            let text = format!("`{word}` is quick to guess from a stolen file");
            reader.wrong(&name, text, Some(HINT));
            return None;
        }
        "bcrypt" => {
            reader.wrong(&name, "`bcrypt` is not supported yet by this version of Postern", Some(HINT));
            return None;
        }
        _ => {
            reader.wrong(&name, format!("{} is no password hash", shown(&word)), Some(HINT));
            return None;
        }
    };
    reader.finish(&section, &[]);
    Some(form)
}

fn pbkdf2(reader: &mut Reader<'_>, section: &mut Section<'_>, item: &Item<'_>) -> Option<HashForm> {
    const DIGESTS: [(&str, Pbkdf2Digest); 3] =
        [("sha", Pbkdf2Digest::Sha1), ("sha256", Pbkdf2Digest::Sha256), ("sha512", Pbkdf2Digest::Sha512)];
    let digest = section.take("mac_fun");
    if digest.is_none() {
        missing(reader, section, item, "mac_fun", "write `mac_fun = sha`, `sha256` or `sha512`");
    }
    let iterations = section.take("iterations");
    if iterations.is_none() {
        missing(reader, section, item, "iterations", "write how often the hashes were made to go round");
    }
    let output = section.take("dk_length").and_then(|item| reader.integer(&item, 16, 64));
    let digest = reader.word(&digest?, &DIGESTS)?;
    let iterations = reader.integer(&iterations?, 1, u64::from(MAX_PBKDF2_ITERATIONS))?;
    Some(HashForm::Pbkdf2 {
        digest,
        iterations: u32::try_from(iterations).expect("the range ends within 32 bits"),
        output_bytes: output.map(|n| usize::try_from(n).expect("the range ends at 64")),
    })
}

pub(super) fn inline_users<C: Credential>(reader: &mut Reader<'_>, item: &Item<'_>) -> Users<C> {
    let mut users = Users::default();
    let Some(items) = reader.list(item) else { return users };
    if items.len() > MAX_INLINE_USERS {
        let text = format!("{} users, at most {MAX_INLINE_USERS} fit the configuration", items.len());
        reader.wrong(item, text, Some("write them into a file"));
        return users;
    }
    for item in &items {
        inline_user(reader, item, &mut users);
    }
    users
}

fn inline_user<C: Credential>(reader: &mut Reader<'_>, item: &Item<'_>, users: &mut Users<C>) {
    let made = format!("`{}` makes one", C::MADE_BY);
    let Some(mut section) = reader.section(item) else { return };
    let name = section.take("user_id");
    let hash = section.take("password_hash");
    if name.is_none() {
        missing(reader, &section, item, "user_id", "write the user name or client identifier");
    }
    if hash.is_none() {
        missing(reader, &section, item, "password_hash", &made);
    }
    reader.finish(&section, emqx::USER);
    let (Some(name), Some(hash_item)) = (name, hash) else { return };
    let (Some(text), Some(hash)) = (reader.text(&name), reader.text(&hash_item)) else { return };
    match C::read(&hash) {
        Err(error) => reader.wrong(&hash_item, error.to_string(), Some(&made)),
        Ok(hash) => {
            if let Err(error) = users.add(&text, hash) {
                reader.wrong(&name, error.to_string(), None);
            }
        }
    }
}
