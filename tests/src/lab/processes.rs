//! Servers of the lab as processes: starting, recognising, ending.
//!
//! A process is known by its id and its start time, so that a reused id is never taken for ours.
//! Every server leads its own process group: a Ctrl-C in the terminal does not reach it before the
//! lab takes it down in order, and SIGKILL reaches its workers too.

use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::poll::Hopeless;
use super::state::{ProcessRecord, StateFile};
use super::{Lab, paths, programs};

/// One certain process, not merely a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The process id.
    pub pid: i32,
    /// When it was started, in clock ticks since boot.
    pub start_ticks: u64,
}

impl ProcessId {
    /// The process with this id, if there is one that is not a zombie.
    pub fn of(pid: i32) -> Option<ProcessId> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let start_ticks = parse_start_ticks(&text)?;
        Some(ProcessId { pid, start_ticks })
    }

    /// This process.
    pub fn current() -> Result<ProcessId> {
        let pid = i32::try_from(std::process::id()).context("process id")?;
        ProcessId::of(pid).context("reading /proc/self/stat; is /proc mounted?")
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        ProcessId::of(self.pid) == Some(*self)
    }
}

/// The start time out of `/proc/PID/stat`; `None` for a process that has ended and waits to be
/// collected. One whose first thread has ended has not while others are on their way: they hold its files and locks.
/// The second field is the program's name and may contain anything, also brackets.
fn parse_start_ticks(stat: &str) -> Option<u64> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_ascii_whitespace();
    let state = fields.next()?;
    let threads: u32 = fields.nth(16)?.parse().ok()?;
    if matches!(state, "Z" | "X") && threads <= 1 {
        return None;
    }
    fields.nth(1)?.parse().ok()
}

/// Sends a signal to a process that still is the one we started. SIGKILL goes to its whole group.
/// A process that has ended already is no error.
pub fn send(id: &ProcessId, signal: Signal) -> Result<()> {
    if !id.is_alive() {
        return Ok(());
    }
    let pid = Pid::from_raw(id.pid);
    let sent = if signal == Signal::SIGKILL { killpg(pid, signal) } else { kill(pid, signal) };
    match sent {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => bail!("cannot signal process {}: {}", id.pid, errno.desc()),
    }
}

/// Whether every process of the group that this one leads has ended: workers that were killed with it may still hold their
/// sockets, and answer on them, when it is gone itself.
pub fn group_has_ended(leader: &ProcessId) -> bool {
    let stats = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path().join("stat"));
    !stats.filter_map(|stat| fs::read_to_string(stat).ok()).any(|stat| is_alive_in_group(&stat, leader.pid))
}

fn is_alive_in_group(stat: &str, group: i32) -> bool {
    let fields = stat.rfind(')').map(|end| &stat[end + 1..]).unwrap_or_default();
    let found = fields.split_ascii_whitespace().nth(2).and_then(|field| field.parse().ok());
    found == Some(group) && parse_start_ticks(stat).is_some()
}

/// Where the output of a server goes.
pub fn log_path(host: &str, name: &str) -> PathBuf {
    paths::host_dir(host).join(format!("{name}.log"))
}

/// Starts a server on a host, with its output in `HOST/NAME.log`, and records it.
pub fn start(lab: &Lab, host: &str, name: &str, program: &Path, arguments: &[&str]) -> Result<()> {
    let log = log_path(host, name);
    fs::create_dir_all(paths::host_dir(host)).with_context(|| format!("making the folder of {host}"))?;
    let output = OpenOptions::new().create(true).append(true).open(&log);
    let output = output.with_context(|| format!("opening {}", log.display()))?;
    let mut command = Command::new(programs::find("nsenter")?);
    command
        .arg(format!("--net={}", paths::namespace(&format!("lab-{host}")).display()))
        .arg(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output.try_clone().context("sharing the log file")?)
        .stderr(output)
        .current_dir("/")
        .process_group(0);
    let child = command.spawn().with_context(|| format!("starting {} on {host}", program.display()))?;
    let pid = i32::try_from(child.id()).context("process id")?;
    let id = ProcessId::of(pid);
    if let Ok(mut children) = lab.children.lock() {
        children.insert(pid, child);
    }
    let Some(id) = id else { bail!("{name} on {host} ended at once{}", last_lines(&log)) };
    let record = ProcessRecord { host: host.to_owned(), name: name.to_owned(), id, log };
    lab.state.update(|state| {
        state.processes.retain(|other| other.host != record.host || other.name != record.name);
        state.processes.push(record);
    })
}

/// Runs a program that takes a while to its end, with its output in `HOST/NAME.log`. It is recorded
/// meanwhile and leads its own group, so that it does not outlive a lab whose owner dies.
pub(super) fn run_recorded(state: &StateFile, host: &str, name: &str, command: &mut Command) -> Result<()> {
    let log = log_path(host, name);
    let output = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(output.try_clone().context("sharing the log file")?).stderr(output);
    let mut child = command.process_group(0).spawn().with_context(|| format!("running {name}"))?;
    let id = ProcessId::of(i32::try_from(child.id()).context("process id")?);
    let recorded = state.update(|state| {
        let record =
            |id| ProcessRecord { host: host.to_owned(), name: name.to_owned(), id, log: log.clone() };
        state.processes.extend(id.map(record));
    });
    let status = child.wait().with_context(|| format!("waiting for {name}"))?;
    recorded?;
    state.update(|state| state.processes.retain(|record| Some(record.id) != id))?;
    if !status.success() {
        bail!("{name} failed ({status}){}", last_lines(&log));
    }
    Ok(())
}

/// An error, with the end of its log, when a server that should run does not.
pub fn check_alive(lab: &Lab, host: &str, name: &str) -> Result<()> {
    let record = lab.record(host, name)?;
    if record.id.is_alive() {
        return Ok(());
    }
    Err(Hopeless(format!("{name} on {host} has ended{}", last_lines(&record.log))).into())
}

/// Name, state and place in the kernel of each thread, to explain a process that does not end.
pub fn what_it_does(id: &ProcessId) -> String {
    let folder = format!("/proc/{}/task", id.pid);
    let threads = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let one = |thread: PathBuf| {
        let read = |name: &str| fs::read_to_string(thread.join(name)).unwrap_or_default().trim().to_owned();
        let status = read("status");
        let state = status.lines().find_map(|line| line.strip_prefix("State:")).unwrap_or("?").trim();
        format!(
            "thread {}: {state}, in {}: {}",
            read("comm"),
            read("wchan"),
            read("stack").replace('\n', ", ")
        )
    };
    threads.map(one).collect::<Vec<_>>().join("; ")
}

/// The last lines of a log, for the end of an error message; empty when there are none.
pub fn last_lines(log: &Path) -> String {
    let Ok(bytes) = fs::read(log) else { return String::new() };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    if lines.is_empty() {
        return String::new();
    }
    let tail = &lines[lines.len().saturating_sub(12)..];
    format!("; the end of {}:\n  {}", log.display(), tail.join("\n  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_a_strange_program_name() {
        let stat = "42 (a) R (b) S 1 42 42 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 98765 1000 1";
        assert_eq!(parse_start_ticks(stat), Some(98765));
    }

    #[test]
    fn a_running_process_shows_its_threads() {
        let doing = what_it_does(&ProcessId::current().unwrap());
        assert!(doing.contains("thread ") && doing.contains("(running)"), "{doing}");
    }

    #[test]
    fn a_zombie_is_not_alive() {
        let stat = "42 (nginx) Z 1 42 42 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 98765 1000 1";
        assert_eq!(parse_start_ticks(stat), None);
    }

    #[test]
    fn a_process_lives_until_its_last_thread_has_ended() {
        let stat = "42 (lbctl) Z 1 42 42 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 2 0 98765 1000 1";
        assert_eq!(parse_start_ticks(stat), Some(98765));
    }

    #[test]
    fn a_group_lives_as_long_as_one_of_its_workers() {
        let worker = "43 (nginx) R 1 42 42 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 98765 1000 1";
        assert!(is_alive_in_group(worker, 42) && !is_alive_in_group(worker, 43));
        assert!(!is_alive_in_group(&worker.replace(" R ", " Z "), 42));
        let mut own = Command::new("sleep").arg("30").process_group(0).spawn().unwrap();
        let leader = ProcessId::of(i32::try_from(own.id()).unwrap()).unwrap();
        assert!(!group_has_ended(&leader));
        own.kill().unwrap();
        own.wait().unwrap();
        assert!(group_has_ended(&leader));
    }

    #[test]
    fn this_process_is_alive_and_an_older_one_with_its_id_is_not() {
        let current = ProcessId::current().unwrap();
        assert!(current.is_alive());
        let earlier = ProcessId { start_ticks: current.start_ticks.wrapping_sub(1), ..current };
        assert!(!earlier.is_alive());
    }
}
