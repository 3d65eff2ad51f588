//! Short ways to load a text.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::path::Path;

use postern_config::{Loaded, Problem, load};

/// Loads `postern.conf` with an environment and further files.
pub(crate) fn load_with(text: &str, env: &[(&str, &str)], files: &[(&str, &str)]) -> Result<Loaded, Vec<Problem>> {
    let env: Vec<(String, String)> = env.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    let files: BTreeMap<&str, &str> = files.iter().copied().collect();
    load(Path::new("etc/postern.conf"), text, &env, &mut |path| {
        let name = path.to_str().unwrap_or_default();
        files.get(name).map(|text| (*text).to_owned()).ok_or_else(|| std::io::Error::other("no such file"))
    })
}

/// Loads a text alone.
pub(crate) fn load_text(text: &str) -> Result<Loaded, Vec<Problem>> {
    load_with(text, &[], &[])
}

/// The configuration; shows the problems where there is none.
pub(crate) fn good(text: &str) -> Loaded {
    load_text(text).unwrap_or_else(|problems| panic!("{}\n{}", lines(&problems), text))
}

/// The problems of a text that must have some.
pub(crate) fn bad(text: &str) -> Vec<Problem> {
    load_text(text).expect_err(text)
}

/// As a person sees them.
pub(crate) fn lines(problems: &[Problem]) -> String {
    problems.iter().fold(String::new(), |all, problem| all + &problem.to_string() + "\n")
}
