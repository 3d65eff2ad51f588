//! An entry of `authentication` with `mechanism = scram`.

use std::path::PathBuf;

use postern_identity::Users;
use postern_identity::credentials::MAX_PBKDF2_ITERATIONS;
use postern_identity::scram::{MIN_ITERATIONS, ScramCredential};

use super::authentication::{Backend, inline_users, missing};
use crate::access::ScramBase;
use crate::emqx;
use crate::problem::Spanned;
use crate::reader::{Item, Reader, Section, shown};

/// What is left of the entry after its mechanism and backend.
pub(super) fn base(
    reader: &mut Reader<'_>,
    mut section: Section<'_>,
    item: &Item<'_>,
    backend: Backend,
) -> Option<ScramBase> {
    let enable = section.take("enable").and_then(|item| reader.boolean(&item)).unwrap_or(true);
    if let Some(item) = section.take("algorithm") {
        algorithm(reader, &item);
    }
    let range = (u64::from(MIN_ITERATIONS), u64::from(MAX_PBKDF2_ITERATIONS));
    let iteration_count = section.take("iteration_count").and_then(|item| reader.integer(&item, range.0, range.1));
    let (users, file) = match section.take("users") {
        None => {
            let hint = "name a file with lines of `NAME:CREDENTIAL` beside `backend = file`, or write \
                        `users = [{ user_id = …, password_hash = … }]`; `postern hash-password --scram` makes one";
            missing(reader, &section, item, "users", hint);
            (Users::default(), None)
        }
        Some(item) => match backend {
            Backend::File => (Users::default(), file(reader, &item)),
            Backend::BuiltIn => (inline_users::<ScramCredential>(reader, &item), None),
        },
    };
    reader.finish(&section, emqx::AUTHENTICATION);
    let iteration_count = iteration_count.map(|n| u32::try_from(n).expect("the range ends within 32 bits"));
    let (path, at) = (item.path.clone(), reader.origin(item.node.at));
    enable.then_some(ScramBase { path, at, iteration_count, users, file })
}

fn algorithm(reader: &mut Reader<'_>, item: &Item<'_>) {
    match reader.text(item).as_deref() {
        None | Some("sha256") => {}
        Some("sha512") => {
            let hint = "write `algorithm = sha256` and make the users' credentials anew: they hold for one algorithm";
            reader.wrong(item, "SCRAM-SHA-512 is not offered: no RFC has it, and few clients know it", Some(hint));
        }
        Some(word) => reader.wrong(item, format!("{} is no algorithm", shown(word)), Some("write `sha256`")),
    }
}

fn file(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Spanned<PathBuf>> {
    let value = super::path(reader, item)?;
    Some(Spanned { value, at: reader.origin(item.node.at) })
}
