//! Which files an include may reach, wherever the configuration file itself is.

use std::path::{Path, PathBuf};

use postern_config::load;

/// The files that were asked for, and whether the text was read.
fn asked(file: &str, text: &str) -> (Vec<PathBuf>, bool) {
    let mut asked = Vec::new();
    let result = load(Path::new(file), text, &[], &mut |path| {
        asked.push(path.to_owned());
        Ok("listeners.tcp.a.bind = 1883".to_owned())
    });
    (asked, result.is_ok())
}

#[test]
fn files_below_the_configuration_are_reached() {
    for (file, include, expect) in [
        ("postern.conf", "a.conf", "a.conf"),
        ("./postern.conf", "./sub/../a.conf", "a.conf"),
        ("/etc/postern/postern.conf", "sub/a.conf", "/etc/postern/sub/a.conf"),
        ("/etc/postern/postern.conf", "/etc/postern/a.conf", "/etc/postern/a.conf"),
        ("../conf/postern.conf", "a.conf", "../conf/a.conf"),
    ] {
        assert_eq!(asked(file, &format!("include \"{include}\"")), (vec![expect.into()], true), "{file} {include}");
    }
}

#[test]
fn no_other_file_is_even_asked_for() {
    for (file, include) in [
        ("postern.conf", "/etc/passwd"),
        ("postern.conf", "../a.conf"),
        ("postern.conf", "sub/../../a.conf"),
        ("postern.conf", "."),
        ("postern.conf", ""),
        ("/etc/postern/postern.conf", "../a.conf"),
        ("/etc/postern/postern.conf", "../postern2/a.conf"),
        ("/etc/postern/postern.conf", "/../../etc/passwd"),
        ("../conf/postern.conf", "../../a.conf"),
        ("../conf/postern.conf", "../a.conf"),
        ("postern.conf", "postern.conf"),
    ] {
        assert_eq!(asked(file, &format!("include \"{include}\"")), (vec![], false), "{file} {include}");
    }
}
