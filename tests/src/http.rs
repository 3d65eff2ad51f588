//! HTTP as a scraper speaks it: one GET, and all that comes back.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::raw::ANSWER_WITHIN;

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header, in lower case.
    pub header: String,
    /// The body.
    pub body: String,
}

/// One GET on a connection of its own.
///
/// # Panics
/// Where no whole answer comes in time.
pub fn get(address: SocketAddr, path: &str) -> Answer {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN).unwrap();
    stream.set_read_timeout(Some(ANSWER_WITHIN)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (header, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {text:?}"));
    let status = header.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, header: header.to_lowercase(), body: body.to_owned() }
}

/// What a broker counts, as one scrape shows it.
#[derive(Debug)]
pub struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    /// Scrapes, and reads Prometheus' text format strictly: a family's HELP and TYPE come first, and no series twice.
    ///
    /// # Panics
    /// Where that does not hold.
    pub fn of(address: SocketAddr) -> Self {
        let answer = get(address, "/metrics");
        assert_eq!(answer.status, 200);
        assert!(answer.header.contains("content-type: text/plain; version=0.0.4"), "{}", answer.header);
        let mut series = BTreeMap::new();
        let mut family = "";
        for line in answer.body.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                family = help.split(' ').next().unwrap();
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(name, family);
                assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
            } else {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert!(name.starts_with(family), "{name} under {family}");
                assert!(series.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{name} twice");
            }
        }
        Self(series)
    }

    /// The value of a series, written as the text has it; 0 where there is none yet.
    pub fn get(&self, series: &str) -> f64 {
        self.0.get(series).copied().unwrap_or(0.0)
    }

    /// Whether it is there.
    pub fn has(&self, series: &str) -> bool {
        self.0.contains_key(series)
    }

    /// How much a series has grown since an earlier scrape.
    pub fn since(&self, before: &Self, series: &str) -> f64 {
        self.get(series) - before.get(series)
    }

    /// The names of all series.
    pub fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}
