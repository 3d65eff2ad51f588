//! Each key in the reference is one that the reader takes, of that type and with that default; and the page is written
//! from it. That the reader takes no other keys, it asserts itself.

mod support;

use postern_config::Problem;
use postern_config::reference::{self, CHAPTERS, Chapter, Key, Kind};
use support::{lines, load_text};

/// A listener with this in the section of the chapter.
fn text(chapter: &Chapter, line: &str) -> String {
    let inner = match chapter.path {
        "ssl_options" => line.to_owned(),
        "ssl_options.managed_certs[]" if line.starts_with("bundle_name") => format!("managed_certs = [{{ {line} }}]"),
        "ssl_options.managed_certs[]" => format!("managed_certs = [{{ bundle_name = x, {line} }}]"),
        path => match path.trim_start_matches("ssl_options.") {
            list if list.ends_with("[]") => format!("{} = [{{ {line} }}]", &list[..list.len() - 2]),
            section => format!("{section} {{ {line} }}"),
        },
    };
    let files = if inner.starts_with("managed_certs") { "" } else { "certfile = a, keyfile = b, cacertfile = c, " };
    format!("listeners.ssl.a {{ bind = 1, ssl_options {{ {files}{inner} }} }}")
}

/// What is said of the key itself.
fn said(chapter: &Chapter, key: &Key, value: &str) -> String {
    let found: Vec<Problem> = match load_text(&text(chapter, &format!("{} = {value}", key.name))) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems,
    };
    let own = found.into_iter().filter(|problem| problem.path.rsplit('.').next() == Some(key.name));
    lines(&own.collect::<Vec<_>>())
}

fn each_key(check: impl Fn(&Chapter, &Key)) {
    for chapter in CHAPTERS {
        for key in chapter.keys {
            check(chapter, key);
        }
    }
}

const WRONG: [&str; 6] = ["unknown key", "must be", "is not", "is no ", "not supported", "without effect"];

#[track_caller]
fn accepts(chapter: &Chapter, key: &Key, value: &str) {
    let said = said(chapter, key, value);
    assert!(!WRONG.iter().any(|wrong| said.contains(wrong)), "{}.{} = {value}: {said}", chapter.path, key.name);
}

#[track_caller]
fn refuses(chapter: &Chapter, key: &Key, value: &str) {
    let said = said(chapter, key, value);
    assert!(!said.contains("unknown key"), "{}.{}: {said}", chapter.path, key.name);
    assert!(WRONG.iter().any(|wrong| said.contains(wrong)), "{}.{} = {value} is taken", chapter.path, key.name);
}

#[test]
fn each_key_takes_what_the_reference_says() {
    each_key(|chapter, key| match key.kind {
        Kind::Switch => {
            for value in ["true", "false"] {
                accepts(chapter, key, value);
            }
            refuses(chapter, key, "sometimes");
        }
        Kind::Word(words) => {
            for word in words {
                accepts(chapter, key, word);
            }
            refuses(chapter, key, "anything-else");
        }
        Kind::Duration(least, most) => {
            for value in [least, most] {
                accepts(chapter, key, value);
            }
            for value in ["0ms", "100000d", "soon"] {
                refuses(chapter, key, value);
            }
        }
        Kind::Number(least, most) => {
            for value in [least, most] {
                accepts(chapter, key, &value.to_string());
            }
            refuses(chapter, key, &(most + 1).to_string());
            refuses(chapter, key, "many");
        }
        Kind::Other(_, example) => accepts(chapter, key, example),
    });
}

#[test]
fn a_key_that_is_not_in_the_reference_is_unknown() {
    for chapter in CHAPTERS {
        let said = load_text(&text(chapter, "no_such_key_at_all = 1")).expect_err(chapter.path);
        assert!(lines(&said).contains("no_such_key_at_all: unknown key"), "{}: {}", chapter.path, lines(&said));
    }
}

#[test]
fn what_holds_without_a_key_is_its_default() {
    // The key is the last thing in the text, so that all other places stay as they are.
    let tls = |chapter: &Chapter, line: &str| {
        let loaded = load_text(&text(chapter, line)).unwrap_or_else(|problems| panic!("{line}: {}", lines(&problems)));
        format!("{:?}", loaded.config.listeners[0].tls)
    };
    each_key(|chapter, key| {
        if let Some(default) = key.default {
            let written = tls(chapter, &format!("{} = {default}", key.name));
            assert_eq!(written, tls(chapter, ""), "{}.{}", chapter.path, key.name);
        }
    });
}

#[test]
fn the_page_is_written_from_the_reference() {
    let page = include_str!("../../../REFERENCE.md");
    assert!(page == reference::markdown(), "REFERENCE.md is not up to date: run cargo xtask reference");
}
