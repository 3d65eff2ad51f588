//! A broker process: started from a configuration file in a directory of its own, stopped by its own pid.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::journal::Journal;

/// From start to `ready`. Generous: plugins are compiled on the first start, on busy cores.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// From a signal to the end of the process.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// The `postern` binary beside this test executable.
///
/// # Panics
/// Where it has not been built.
pub fn binary() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let found = own.ancestors().skip(1).map(|dir| dir.join("postern")).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("no `postern` in any directory above {}: run `cargo build -p postern` first", own.display())
    })
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// A plugin as `cargo xtask build-plugins` leaves it.
///
/// # Panics
/// Where it has not been built.
pub fn plugin(name: &str) -> PathBuf {
    let dir = std::env::var_os("POSTERN_TEST_PLUGINS").map_or_else(|| root().join("target/plugins"), PathBuf::from);
    let path = dir.join(format!("{name}.wasm"));
    assert!(path.is_file(), "no {}: run `cargo xtask build-plugins` first", path.display());
    path
}

/// What a broker is started with: a directory, a configuration in it, and environment overrides.
pub struct Setup {
    /// Its working directory; `data` inside it is the data directory.
    pub dir: TempDir,
    config: String,
    env: BTreeMap<String, String>,
    /// Soft and hard limit of open files.
    open_files: Option<(u32, u32)>,
}

impl Setup {
    /// The configuration gets `node { data_dir = "data" }` and a plain listener `control` for the tests'
    /// own clients in front.
    pub fn new(listeners: &str) -> Self {
        let head = "node { name = \"blackbox\", data_dir = \"data\" }\n\
                    listeners.tcp.control { bind = \"127.0.0.1:0\", max_unauthenticated_per_address = 100000 }\n";
        Self::bare(&format!("{head}{listeners}\n"))
    }

    /// The configuration as it stands.
    pub fn bare(config: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("postern-blackbox-").tempdir().unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        Self { dir, config: config.to_owned(), env: BTreeMap::new(), open_files: None }
    }

    /// Adds to the configuration.
    #[must_use]
    pub fn and(mut self, config: &str) -> Self {
        self.config.push_str(config);
        self.config.push('\n');
        self
    }

    /// Sets an environment variable of the broker.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets the broker's soft and hard limit of open files.
    #[must_use]
    pub fn open_files(mut self, soft: u32, hard: u32) -> Self {
        self.open_files = Some((soft, hard));
        self
    }

    /// Writes a file below the working directory.
    pub fn file(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn command(&self, what: &str) -> Command {
        self.file("postern.conf", &self.config);
        let mut command = match self.open_files {
            None => Command::new(binary()),
            // The shell becomes the broker, so that the process is the one that was started.
            Some((soft, hard)) => {
                let mut shell = Command::new("sh");
                let script = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" \"$@\"");
                shell.arg("-c").arg(script).arg(binary());
                shell
            }
        };
        command.arg(what).args(["--config", "postern.conf"]).current_dir(self.dir.path());
        // The tests' own environment must not configure the broker.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("POSTERN_")) {
            command.env_remove(name);
        }
        command.envs(&self.env).stdin(Stdio::null());
        command
    }

    /// `postern check`.
    pub fn check(&self) -> Checked {
        Checked::from(&self.command("check").output().unwrap())
    }

    /// `postern serve` for a configuration that must not come up: waits for its end.
    pub fn serve_refused(&self) -> Checked {
        let mut command = self.command("serve");
        let mut child =
            command.args(["--log-format", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        if wait_for_end(&mut child, READY_WITHIN).is_none() {
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            panic!("the broker came up where it had to refuse: {}", String::from_utf8_lossy(&output.stderr));
        }
        Checked::from(&child.wait_with_output().unwrap())
    }

    /// `postern serve`, up to `ready`.
    pub fn start(self) -> Broker {
        Broker::start(self)
    }
}

/// How `postern check`, or a refused start, ended.
#[derive(Debug)]
pub struct Checked {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Both output streams.
    pub text: String,
}

impl From<&Output> for Checked {
    fn from(output: &Output) -> Self {
        let text = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
        Self { code: output.status.code(), text }
    }
}

/// A running broker. Dropped, it is killed by its own pid.
pub struct Broker {
    child: Mutex<Child>,
    pid: u32,
    reader: Option<JoinHandle<()>>,
    /// Its log.
    pub journal: Journal,
    /// What it was started with.
    pub setup: Setup,
    /// From the start of the process to `ready`.
    pub took: Duration,
}

impl Broker {
    fn start(setup: Setup) -> Self {
        let began = Instant::now();
        let mut command = setup.command("serve");
        let mut child =
            command.args(["--log-format", "json"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (journal, reader) = Journal::follow(child.stderr.take().unwrap());
        let pid = child.id();
        let ready = journal.find(0, READY_WITHIN, |line| line.says("ready"));
        let broker =
            Self { child: Mutex::new(child), pid, reader: Some(reader), journal, setup, took: began.elapsed() };
        assert!(ready.is_some(), "the broker never said `ready`; it said\n{}", broker.journal.text());
        broker
    }

    /// The broker's process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The working directory.
    pub fn dir(&self) -> &Path {
        self.setup.dir.path()
    }

    /// Where a listener is bound, by its `TYPE:NAME`.
    ///
    /// # Panics
    /// Where the log does not say.
    pub fn address(&self, listener: &str) -> SocketAddr {
        let line =
            self.journal.expect(0, "listening", |line| line.says("listening") && line.text("listener") == listener);
        line.text("address").parse().unwrap()
    }

    /// Where the tests' own plain listener is bound.
    pub fn control(&self) -> SocketAddr {
        self.address("tcp:control")
    }

    /// Whether the process that was started still runs.
    pub fn is_running(&self) -> bool {
        matches!(self.child.lock().unwrap().try_wait(), Ok(None))
    }

    /// Resident memory of the process, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
    }

    /// Processor time that the process has used, in clock ticks of 10 ms (proc(5), fields 14 and 15).
    pub fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap();
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().collect::<Vec<_>>();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Sends a signal by name, for example `TERM`, to this process alone.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid.to_string()]).status().unwrap();
        assert!(status.success(), "kill -{name} {}", self.pid);
    }

    /// The end of the process, which must come soon.
    ///
    /// # Panics
    /// Where it does not.
    pub fn wait_for_end(&self) -> ExitStatus {
        let end = wait_for_end(&mut self.child.lock().unwrap(), STOP_WITHIN);
        end.unwrap_or_else(|| panic!("the broker did not end; it said\n{}", self.journal.text()))
    }

    /// Ends the broker as an operator does and gives back what it was started with, for another start.
    pub fn stop(self) -> (ExitStatus, Setup) {
        self.signal("TERM");
        self.end()
    }

    /// Kills the broker with SIGKILL and gives back what it was started with, for another start.
    pub fn kill(self) -> Setup {
        self.signal("KILL");
        self.end().1
    }

    fn end(mut self) -> (ExitStatus, Setup) {
        let status = self.wait_for_end();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        let empty =
            Setup { dir: TempDir::new().unwrap(), config: String::new(), env: BTreeMap::new(), open_files: None };
        (status, std::mem::replace(&mut self.setup, empty))
    }

    /// Fails the test where the process is gone or the log speaks of a panic.
    ///
    /// # Panics
    /// That is what it is for.
    pub fn assert_sound(&self) {
        assert!(self.is_running(), "the broker is gone; it said\n{}", self.journal.text());
        let panicked = self.journal.lines().into_iter().find(|line| line.raw.contains("panicked at"));
        assert!(panicked.is_none(), "the log speaks of a panic: {panicked:?}");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Both fail only where the process has ended already.
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn wait_for_end(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + within;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
