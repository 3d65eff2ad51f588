//! What the operating system says of this process.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Where something cannot be read, it is left out.
pub(super) struct Process {
    pub(super) resident_bytes: Option<u64>,
    pub(super) open_fds: Option<u64>,
    pub(super) max_fds: Option<u64>,
    pub(super) cpu: Duration,
}

impl Process {
    pub(super) fn look() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let seconds = Duration::from_secs(u64::try_from(cpu.tv_sec).unwrap_or(0));
        Self {
            resident_bytes: resident_bytes(),
            // The directory itself is open while it is read.
            open_fds: std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1) as u64),
            max_fds: getrlimit(Resource::Nofile).current,
            cpu: seconds + Duration::from_nanos(u64::try_from(cpu.tv_nsec).unwrap_or(0)),
        }
    }
}

/// proc(5), `VmRSS` of `status`: kibibytes, whatever the size of a page.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_descriptors_and_time() {
        let process = Process::look();
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 100_000), "{:?}", process.resident_bytes);
        assert!(process.open_fds.is_some_and(|count| count >= 3), "{:?}", process.open_fds);
        assert!(process.cpu > Duration::ZERO);
    }
}
