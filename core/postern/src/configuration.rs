//! Reads the configuration file, its includes and the environment.

use std::fs;
use std::io;
use std::path::Path;

use postern_config::Loaded;

/// The configuration, or all that is wrong with it, ready to be shown.
pub(crate) fn read(file: &Path) -> Result<Loaded, Vec<String>> {
    let text = fs::read_to_string(file).map_err(|error| vec![unreadable(file, &error)])?;
    // Variables whose name or value is not UTF-8 cannot be meant for us.
    let environment: Vec<(String, String)> =
        std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
    postern_config::load(file, &text, &environment, &mut |path| fs::read_to_string(path))
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn unreadable(file: &Path, error: &io::Error) -> String {
    let shown = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    match error.kind() {
        io::ErrorKind::NotFound => format!("{}: there is no such file; name one with --config FILE", shown.display()),
        io::ErrorKind::InvalidData => format!("{}: it is not UTF-8 text", shown.display()),
        _ => format!("{}: {error}", shown.display()),
    }
}
