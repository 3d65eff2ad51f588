//! The broker's log, read line by line as JSON while the broker runs.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Lines kept of one broker; a broker that says more in one test has a fault of its own.
const MAX_LINES: usize = 200_000;

/// One line of the log.
#[derive(Clone)]
pub struct Line {
    /// As it was written.
    pub raw: String,
    /// Its fields; `Null` where the line is not JSON.
    pub fields: Value,
}

impl Line {
    /// The field as text; empty where it is absent. Numbers come out in decimal.
    pub fn text(&self, field: &str) -> String {
        match &self.fields[field] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        }
    }

    /// Whether the line's message is this word.
    pub fn says(&self, message: &str) -> bool {
        self.fields["message"] == message
    }

    /// Whether the field is there and not null.
    pub fn has(&self, field: &str) -> bool {
        !self.fields[field].is_null()
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

#[derive(Default)]
struct Written {
    lines: Vec<Line>,
    ended: bool,
}

/// The log of one broker process.
#[derive(Clone)]
pub struct Journal {
    written: Arc<(Mutex<Written>, Condvar)>,
}

impl Journal {
    /// Reads the stream on a thread of its own until it ends.
    pub fn follow(stream: impl Read + Send + 'static) -> (Self, JoinHandle<()>) {
        let journal = Self { written: Arc::default() };
        let writer = journal.clone();
        let reader = std::thread::spawn(move || {
            for raw in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let raw = String::from_utf8_lossy(&raw).into_owned();
                let fields = serde_json::from_str(&raw).unwrap_or(Value::Null);
                let mut written = writer.written.0.lock().unwrap();
                if written.lines.len() < MAX_LINES {
                    written.lines.push(Line { raw, fields });
                }
                writer.written.1.notify_all();
            }
            writer.written.0.lock().unwrap().ended = true;
            writer.written.1.notify_all();
        });
        (journal, reader)
    }

    /// How many lines there are: a mark to look for later ones from.
    pub fn mark(&self) -> usize {
        self.written.0.lock().unwrap().lines.len()
    }

    /// All lines from a mark on.
    pub fn since(&self, mark: usize) -> Vec<Line> {
        self.written.0.lock().unwrap().lines[mark..].to_vec()
    }

    /// All lines.
    pub fn lines(&self) -> Vec<Line> {
        self.since(0)
    }

    /// Everything said so far, as text.
    pub fn text(&self) -> String {
        self.lines().into_iter().map(|line| line.raw + "\n").collect()
    }

    /// The first line from the mark on that the predicate takes; `None` when the deadline passes or the
    /// log ends before.
    pub fn find(&self, mark: usize, deadline: Duration, mut wanted: impl FnMut(&Line) -> bool) -> Option<Line> {
        let end = Instant::now() + deadline;
        let mut next = mark;
        let mut written = self.written.0.lock().unwrap();
        loop {
            while next < written.lines.len() {
                if wanted(&written.lines[next]) {
                    return Some(written.lines[next].clone());
                }
                next += 1;
            }
            let left = end.saturating_duration_since(Instant::now());
            if written.ended || left.is_zero() {
                return None;
            }
            written = self.written.1.wait_timeout(written, left).unwrap().0;
        }
    }

    /// As [`Journal::find`], for what must come.
    ///
    /// # Panics
    /// Where it does not, with the log.
    pub fn expect(&self, mark: usize, what: &str, wanted: impl FnMut(&Line) -> bool) -> Line {
        let found = self.find(mark, Duration::from_secs(20), wanted);
        found.unwrap_or_else(|| {
            let seen = self.since(mark);
            let tail = &seen[seen.len().saturating_sub(60)..];
            panic!("the log never said: {what}; it said {tail:#?}")
        })
    }
}
