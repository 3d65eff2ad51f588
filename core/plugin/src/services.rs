//! What the host does for a guest: the time, log lines, and the names within the listener's reach.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use postern_identity::{BundleDirectory, ListenerId, PluginName};
use tracing::{debug, error, info, warn};
use wasmtime::component::HasSelf;

use crate::bindings::postern::gate::{bundle_directory, certificates, clock, log, types};
use crate::limits::{Growth, MAX_HOST_CALLS, Ticks};
use crate::words;

/// Log lines of one call; further ones are dropped and counted.
const MAX_LINES_PER_CALL: u32 = 8;
/// Bytes of one line before escaping; the rest is cut off.
const MAX_LINE_BYTES: usize = 512;
/// Log lines of one plugin in one [`LOG_WINDOW`], all instances together.
const MAX_LINES_PER_WINDOW: u32 = 100;
const LOG_WINDOW: Duration = Duration::from_mins(1);

/// Whose guest it is. One for all instances of a plugin.
pub(crate) struct Badge {
    pub(crate) plugin: PluginName,
    pub(crate) listener: ListenerId,
    pub(crate) directory: Arc<dyn BundleDirectory>,
    pub(crate) log: Arc<LogBudget>,
}

/// How many lines the plugin has left.
pub(crate) struct LogBudget {
    window: Mutex<Window>,
    /// Since the load.
    pub(crate) dropped: AtomicU64,
}

struct Window {
    began: Instant,
    lines: u32,
    dropped_before: u64,
}

impl LogBudget {
    pub(crate) fn new() -> Self {
        Self {
            window: Mutex::new(Window { began: Instant::now(), lines: 0, dropped_before: 0 }),
            dropped: AtomicU64::new(0),
        }
    }

    /// Whether a line may be written, and how many were dropped in the window that has just ended.
    fn take(&self, now: Instant) -> (bool, u64) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let mut dropped = 0;
        if now.duration_since(window.began) >= LOG_WINDOW {
            let total = self.dropped.load(Relaxed);
            dropped = total - window.dropped_before;
            *window = Window { began: now, lines: 0, dropped_before: total };
        }
        let granted = window.lines < MAX_LINES_PER_WINDOW;
        window.lines += u32::from(granted);
        (granted, dropped)
    }
}

/// The guest went over a limit of the host: ends the call and with it the instance.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OverQuota {
    #[error("too many host calls")]
    HostCalls,
    #[error("too much processor time")]
    CpuTime,
}

/// The data of one store.
pub(crate) struct Session {
    pub(crate) badge: Arc<Badge>,
    pub(crate) growth: Growth,
    pub(crate) ticks: Ticks,
    host_calls: u32,
    lines: u32,
}

/// Names this data to the linker.
pub(crate) type Services = HasSelf<Session>;

impl Session {
    pub(crate) fn new(badge: Arc<Badge>, growth: Growth) -> Self {
        Self { badge, growth, ticks: Ticks::default(), host_calls: 0, lines: 0 }
    }

    /// A new invocation begins.
    pub(crate) fn rearm(&mut self, cpu: Duration) {
        self.ticks.reset(cpu);
        self.host_calls = 0;
        self.lines = 0;
    }

    fn count(&mut self) -> wasmtime::Result<()> {
        self.host_calls += 1;
        if self.host_calls > MAX_HOST_CALLS { Err(wasmtime::Error::new(OverQuota::HostCalls)) } else { Ok(()) }
    }
}

impl types::Host for Session {}
impl certificates::Host for Session {}

impl clock::Host for Session {
    fn now_unix_ms(&mut self) -> wasmtime::Result<u64> {
        self.count()?;
        Ok(unix_ms())
    }
}

impl log::Host for Session {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.count()?;
        self.lines += 1;
        let (granted, dropped) =
            if self.lines > MAX_LINES_PER_CALL { (false, 0) } else { self.badge.log.take(Instant::now()) };
        let (plugin, listener) = (&self.badge.plugin, &self.badge.listener);
        if dropped > 0 {
            warn!(%plugin, %listener, dropped, "the plugin wrote too many log lines; some were dropped");
        }
        if !granted {
            self.badge.log.dropped.fetch_add(1, Relaxed);
            return Ok(());
        }
        let line = printable(&message);
        match level {
            log::Level::Debug => debug!(%plugin, %listener, "{line}"),
            log::Level::Info => info!(%plugin, %listener, "{line}"),
            log::Level::Warn => warn!(%plugin, %listener, "{line}"),
            log::Level::Error => error!(%plugin, %listener, "{line}"),
        }
        Ok(())
    }
}

impl bundle_directory::Host for Session {
    fn by_name(&mut self, name: String) -> wasmtime::Result<Option<bundle_directory::BundleInfo>> {
        self.count()?;
        Ok(self.badge.directory.by_name(&name).map(words::bundle_info))
    }

    fn get(&mut self, bundle: types::BundleRef) -> wasmtime::Result<Option<bundle_directory::BundleInfo>> {
        self.count()?;
        let known = words::bundle_ref_in(&bundle).ok();
        Ok(known.and_then(|bundle| self.badge.directory.get(&bundle).map(words::bundle_info)))
    }

    fn default(&mut self) -> wasmtime::Result<Option<bundle_directory::BundleInfo>> {
        self.count()?;
        Ok(self.badge.directory.default_bundle().map(words::bundle_info))
    }

    fn namespaces(&mut self) -> wasmtime::Result<Vec<String>> {
        self.count()?;
        Ok(self.badge.directory.namespaces().iter().map(ToString::to_string).collect())
    }
}

/// The time of day. A clock before 1970 reads as 1970.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The line cut to size, on one line, without terminal sequences and text that runs backwards.
fn printable(message: &str) -> String {
    let mut end = message.len().min(MAX_LINE_BYTES);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let mut line = String::with_capacity(end);
    for character in message[..end].chars() {
        match character {
            '"' | '\'' => line.push(character),
            _ => write!(line, "{}", character.escape_debug()).expect("writing to a String cannot fail"),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn j_04_terminal_sequences_line_breaks_and_bidi_controls_do_not_reach_the_log() {
        assert_eq!(printable("a\x1b[31mb\r\nc\u{202E}d"), "a\\u{1b}[31mb\\r\\nc\\u{202e}d");
        assert_eq!(printable("it's \"fine\", Zürich"), "it's \"fine\", Zürich");
    }

    #[test]
    fn j_04_a_line_is_cut_at_a_character() {
        assert_eq!(printable(&"x".repeat(10_000)).len(), MAX_LINE_BYTES);
        let umlauts = "ü".repeat(400);
        assert_eq!(printable(&format!("x{umlauts}")).len(), MAX_LINE_BYTES - 1);
    }

    #[test]
    fn j_04_a_plugin_has_a_hundred_lines_a_minute() {
        let budget = LogBudget::new();
        let start = Instant::now();
        let granted = (0..250).filter(|_| budget.take(start).0).count();
        assert_eq!(granted, 100);
        budget.dropped.fetch_add(150, Relaxed);
        assert_eq!(budget.take(start + LOG_WINDOW), (true, 150));
        assert_eq!(budget.take(start + LOG_WINDOW), (true, 0));
    }
}
