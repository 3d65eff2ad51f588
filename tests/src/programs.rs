//! Programs that others wrote: mosquitto's clients, `openssl`, and Python with paho-mqtt.

use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::journal::Journal;

/// Longest run of a program that ends by itself.
const RUN_WITHIN: Duration = Duration::from_mins(1);

/// How a program ended.
#[derive(Debug)]
pub struct Ran {
    /// The exit code.
    pub code: Option<i32>,
    /// What it wrote, both streams.
    pub text: String,
}

impl Ran {
    /// Fails the test where the program failed.
    ///
    /// # Panics
    /// That is what it is for.
    pub fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.text);
        self.text
    }
}

/// A program that is running. Dropped, it is killed by its own pid.
pub struct Running {
    child: Child,
    /// What it writes to its standard output, line by line.
    pub output: Journal,
}

impl Running {
    /// Waits for a line on standard output that has the words in it.
    pub fn says(&self, words: &str) -> String {
        self.output.expect(0, words, |line| line.raw.contains(words)).raw
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// Where it does not come.
    pub fn ends(mut self) -> Ran {
        let end = Instant::now() + RUN_WITHIN;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                // The reader sees the end of the stream a moment after the process ended.
                self.output.find(usize::MAX, Duration::from_secs(2), |_| false);
                return Ran { code: status.code(), text: self.output.text() };
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("still running; it said\n{}", self.output.text())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only where the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a program and follows its output.
///
/// # Panics
/// Where it is not installed.
pub fn start(program: &str, arguments: &[impl AsRef<OsStr>]) -> Running {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; `cargo xtask test` installs what the tests need"));
    let (output, _) = Journal::follow(child.stdout.take().unwrap());
    Running { child, output }
}

/// Runs a program to its end with this text on its standard input.
///
/// # Panics
/// Where it is not installed, or does not end.
pub fn run(program: &str, arguments: &[impl AsRef<OsStr>], input: &[u8]) -> Ran {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; `cargo xtask test` installs what the tests need"));
    let (output, out) = Journal::follow(child.stdout.take().unwrap());
    let (errors, err) = Journal::follow(child.stderr.take().unwrap());
    // A program that has ended already does not read; that is its own report to make.
    let _ = child.stdin.take().unwrap().write_all(input);
    let end = Instant::now() + RUN_WITHIN;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > end {
            child.kill().unwrap();
            panic!("{program} still running; it said\n{}{}", output.text(), errors.text());
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    out.join().unwrap();
    err.join().unwrap();
    Ran { code: status.code(), text: output.text() + &errors.text() }
}

/// The Python that has paho-mqtt.
pub fn python() -> PathBuf {
    std::env::var_os("POSTERN_TEST_PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from)
}
