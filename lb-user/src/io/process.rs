//! What this process takes of the machine.
//!
//! Owns reading it from the kernel. Never judges it.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use nix::unistd::{SysconfVar, sysconf};
use std::fs;
use std::time::Duration;

/// Figures of this process; what the kernel does not tell is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessFigures {
    /// Time its threads ran, in the kernel too.
    pub cpu: Duration,
    /// Memory it holds.
    pub resident_bytes: u64,
    /// Open files, sockets among them.
    pub open_files: u64,
    /// Threads.
    pub threads: u64,
}

/// As of now.
pub fn figures() -> ProcessFigures {
    let cpu = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| {
        usage.user_time().num_microseconds().saturating_add(usage.system_time().num_microseconds())
    });
    let page_bytes =
        sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|bytes| u64::try_from(bytes).ok());
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages.split(' ').nth(1).and_then(|word| word.parse::<u64>().ok());
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let threads = status.lines().find_map(|line| line.strip_prefix("Threads:")?.trim().parse().ok());
    // Newer kernels say it at once (since 6.2); for others it is counted.
    let open_files = match fs::metadata("/proc/self/fd").map_or(0, |found| found.len()) {
        0 => fs::read_dir("/proc/self/fd").map_or(0, |all| all.count() as u64),
        count => count,
    };
    ProcessFigures {
        cpu: Duration::from_micros(u64::try_from(cpu).unwrap_or(0)),
        resident_bytes: pages.unwrap_or(0).saturating_mul(page_bytes.unwrap_or(4096)),
        open_files,
        threads: threads.unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_threads_files_and_memory_and_takes_time() {
        let before = figures();
        let file = fs::File::open("/proc/self/stat").expect("a file");
        let busy = (0..3_000_000_u64).fold(0_u64, |sum, number| sum.wrapping_mul(31).wrapping_add(number));
        let after = figures();
        assert!(
            before.resident_bytes > 1 << 20 && before.threads >= 1 && before.open_files > 3,
            "{before:?}"
        );
        assert!(after.cpu > before.cpu, "{after:?} {busy}");
        drop(file);
    }
}
