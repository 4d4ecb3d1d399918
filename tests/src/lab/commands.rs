//! What the binary `lab` does, one function per subcommand.

use std::fs;
use std::io::{IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Error, Result, bail};
use nix::sys::signal::Signal;

use super::addresses::{NODES, plan};
use super::lock::LabLock;
use super::state::{State, StateFile};
use super::{
    Host, Lab, Options, agents, cleanup, interrupt, paths, poll, processes, programs, rates, summary, up,
};

/// `lab run` and `lab up`: in the foreground until asked to stop, or left in the background.
pub fn up(options: Options, detach: bool) -> Result<()> {
    interrupt::install()?;
    let progress = options.progress;
    let lab = match Lab::up(options) {
        Ok(lab) => lab,
        Err(_) if interrupt::requested() => bail!("interrupted; what had been started was taken down"),
        Err(error) => return Err(error),
    };
    let end = match detach {
        true => "it runs in the background, and `cargo xtask lab down` takes it down",
        false => "Ctrl-C takes everything down",
    };
    say(&summary(lab.setup(), end));
    if detach {
        return lab.detach();
    }
    say("\n");
    watch();
    say("\n");
    progress.step("taking everything down", || lab.down())
}

/// The live line, until asked to stop. What cannot be measured is left out, never an error.
fn watch() {
    let mut output = std::io::stdout();
    let live = output.is_terminal();
    let mut before = rates::sample().ok();
    while interrupt::pause(Duration::from_secs(1)) {
        if !live {
            continue;
        }
        let after = rates::sample().ok();
        if let (Some(before), Some(after)) = (&before, &after) {
            let line: String = rates::rates(before, after).chars().take(terminal_columns()).collect();
            let _ = write!(output, "\r\x1b[K{line}").and_then(|()| output.flush());
        }
        before = after;
    }
}

fn terminal_columns() -> usize {
    let asked = Command::new("stty").arg("size").stdin(std::process::Stdio::inherit()).output().ok();
    let text = asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let columns = text.split_ascii_whitespace().nth(1).and_then(|columns| columns.parse().ok());
    // A terminal that does not know its width says 0.
    columns.filter(|columns| *columns > 0).unwrap_or(120)
}

/// `lab down`: takes any lab down, whoever started it.
pub fn down() -> Result<()> {
    up::require_root()?;
    let file = StateFile::default();
    let (lock, owned) = match LabLock::try_take()? {
        Some(lock) => (lock, false),
        None => (ask_owner_to_stop(&file)?, true),
    };
    let there = cleanup::anything_left();
    let cleaned = cleanup::clean(&file);
    drop(lock);
    let cleaned = cleaned?;
    if there {
        say(&format!("taken down: {} processes, {} namespaces\n", cleaned.processes, cleaned.namespaces));
    } else {
        say(if owned { "it has done so\n" } else { "no lab is running\n" });
    }
    Ok(())
}

/// A lab in the foreground of another terminal takes itself down when asked.
fn ask_owner_to_stop(file: &StateFile) -> Result<LabLock> {
    let state = file.load()?.context("a lab is being started or taken down by another process; try again")?;
    say(&format!("asking process {}, which runs the lab, to take it down\n", state.owner.pid));
    processes::send(&state.owner, Signal::SIGTERM)?;
    poll::until("the lab's owner lets go", Duration::from_secs(30), || {
        LabLock::try_take()?.with_context(|| format!("process {} still holds the lab", state.owner.pid))
    })
}

/// `lab exec`: becomes the command, on a host. Returns only when that fails.
pub fn exec(host: &str, command: &[String]) -> Result<()> {
    let host = running_host(host)?;
    let (program, arguments) = command.split_first().context("no command was given")?;
    let mut inner = host.command(program);
    inner.args(arguments);
    // `lbctl` means the one this lab runs, also when it is not installed.
    let lbctl = StateFile::default().load().ok().flatten().and_then(|state| state.setup.lbctl);
    if let Some(folder) = lbctl.as_deref().and_then(|binary| binary.parent()) {
        inner.env("PATH", format!("{}:{}", folder.display(), programs::search_path()));
    }
    Err(Error::from(inner.exec()).context(format!("running {program} on {}", host.name())))
}

/// Where and what `lab capture` captures.
#[derive(Debug, Default)]
pub struct Capture {
    /// The host.
    pub host: String,
    /// The file; default: a name made of host and time, in the current folder.
    pub file: Option<PathBuf>,
    /// The link; default: `eth0`, but a load balancer's port at the router.
    pub interface: Option<String>,
    /// A tcpdump filter.
    pub filter: Vec<String>,
}

/// `lab capture`: becomes tcpdump. Returns only when that fails.
pub fn capture(wanted: Capture) -> Result<()> {
    let tcpdump = programs::find("tcpdump")?;
    let host = running_host(&wanted.host)?;
    let (place, interface) = capture_point(&host, wanted.interface)?;
    if place != host {
        say(&format!(
            "{} transmits from XDP, which a capture on its own eth0 does not see; \
             capturing at its port {interface} of lab-router (-i eth0 for the other)\n",
            host.namespace()
        ));
    }
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("the clock")?.as_secs();
    let file = wanted.file.unwrap_or_else(|| PathBuf::from(format!("{}-{seconds}.pcap", host.namespace())));
    say(&format!("capturing to {}; Ctrl-C ends it\n", file.display()));
    let mut command = place.command(&tcpdump.display().to_string());
    // Root, because tcpdump's own user may not write here. Immediate and unbuffered, so that the file is
    // whole up to the last packet whenever somebody looks or presses Ctrl-C.
    command
        .args(["-i", &interface, "--immediate-mode", "-U", "-Z", "root", "-w"])
        .arg(&file)
        .args(&wanted.filter);
    Err(Error::from(command.exec()).context("running tcpdump"))
}

/// The namespace and link where all of a host's packets are seen.
fn capture_point(host: &Host, interface: Option<String>) -> Result<(Host, String)> {
    match (interface, plan(host.name())) {
        (Some(interface), _) => Ok((host.clone(), interface)),
        (None, Some(plan)) if NODES.contains(&plan.name) => Ok((Host::find("router")?, plan.router_port())),
        (None, Some(_)) => Ok((host.clone(), "eth0".into())),
        (None, None) => Ok((host.clone(), "any".into())),
    }
}

/// `lab logs`: becomes tail on all logs of a host. Returns only when that fails.
pub fn logs(host: &str, follow: bool) -> Result<()> {
    let host = running_host(host)?;
    let folder = paths::host_dir(host.name());
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    files.sort();
    if files.is_empty() {
        bail!("{} has no logs; it runs no server", host.namespace());
    }
    let mut command = Command::new(programs::find("tail")?);
    command.args(["-v", "-n", "200"]).args(follow.then_some("-F")).args(files);
    Err(Error::from(command.exec()).context("running tail"))
}

/// `lab status`: prints what runs; true when a lab is up and every server of it is alive.
pub fn status() -> Result<bool> {
    let Some(state) = StateFile::default().load()? else {
        let rest = if cleanup::anything_left() {
            " (an earlier one left something; `lab down` removes it)"
        } else {
            ""
        };
        say(&format!("no lab is running{rest}\n"));
        return Ok(false);
    };
    say(&status_text(&state));
    let owned = state.detached || state.owner.is_alive();
    Ok(owned && state.ready && state.processes.iter().all(|record| record.id.is_alive()))
}

fn status_text(state: &State) -> String {
    let life = match (state.detached, state.owner.is_alive()) {
        (true, _) => "in the background".to_owned(),
        (false, true) => format!("run by process {}", state.owner.pid),
        (false, false) => "its owner has died; `cargo xtask lab down` removes it".to_owned(),
    };
    let mut text = format!("lab: {life}{}\n\n", if state.ready { "" } else { ", not everything is up yet" });
    text.push_str("HOST    SERVER    PID      STATE  LOG\n");
    for record in &state.processes {
        let alive = if record.id.is_alive() { "runs" } else { "ended" };
        let (host, name, pid, log) = (&record.host, &record.name, record.id.pid, record.log.display());
        text.push_str(&format!("{host:<7} {name:<9} {pid:<8} {alive:<6} {log}\n"));
    }
    for node in NODES.iter().filter(|_| state.setup.agents) {
        text.push_str(&format!("{node:<7} control socket {}\n", agents::socket_path(node).display()));
    }
    text
}

/// A host of a lab that stands.
fn running_host(name: &str) -> Result<Host> {
    let host = Host::find(name)?;
    if !paths::namespace(&host.namespace()).exists() {
        bail!("no lab is running; start one with `cargo xtask lab up --detach`");
    }
    up::require_root()?;
    Ok(host)
}

/// Prints without caring whether anybody still reads: the terminal may be gone while we clean up.
fn say(text: &str) {
    let mut output = std::io::stdout();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_balancer_is_captured_where_its_xdp_transmissions_are_seen() {
        let (place, interface) = capture_point(&Host::find("lb2").unwrap(), None).unwrap();
        assert_eq!((place.name(), interface.as_str()), ("router", "p-lb2"));
    }

    #[test]
    fn other_hosts_are_captured_on_their_own_link() {
        let (place, interface) = capture_point(&Host::find("web1").unwrap(), None).unwrap();
        assert_eq!((place.name(), interface.as_str()), ("web1", "eth0"));
        let (place, interface) = capture_point(&Host::find("lb1").unwrap(), Some("eth0".into())).unwrap();
        assert_eq!((place.name(), interface.as_str()), ("lb1", "eth0"));
    }

    #[test]
    fn a_dead_server_shows_in_the_status() {
        let mut state = State::new(super::super::state::Setup::default()).unwrap();
        state.processes.push(super::super::state::ProcessRecord {
            host: "web1".into(),
            name: "nginx".into(),
            id: processes::ProcessId { pid: state.owner.pid, start_ticks: 0 },
            log: "/run/x.log".into(),
        });
        assert!(status_text(&state).contains("web1    nginx"));
        assert!(status_text(&state).contains("ended"));
    }
}
