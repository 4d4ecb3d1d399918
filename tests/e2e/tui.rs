//! `lbctl tui` in a real terminal: tmux types keys and reads the screen, agents go and come back.

use crate::client::{PATIENCE, lbctl, lbctl_on, wait_for_health};
use crate::sync::failover_lab;
use crate::vrrp::expect_state;
use anyhow::{Context as _, Result, ensure};
use lb_user::api::BackendView;
use lb_user::model::{AdminState, BackendHealth};
use lbctl_tests::lab::{Lab, poll, programs};
use nix::sys::signal::Signal;
use std::process::Command;
use std::time::Duration;

/// How long the idle TUI is watched, of which it may take a hundredth.
const IDLE: Duration = Duration::from_secs(10);

/// A terminal of a tmux server of its own, which ends with it.
struct Terminal {
    server: String,
    /// Its socket is there, and goes with it.
    folder: tempfile::TempDir,
}

impl Terminal {
    /// Starts `lbctl` in it.
    fn start(lab: &Lab, name: &str, arguments: &[&str]) -> Result<Self> {
        let server = format!("lbctl-e2e-{}-{name}", std::process::id());
        let terminal = Self { server, folder: tempfile::tempdir()? };
        let lbctl = lab.setup().lbctl.as_ref().context("no lbctl")?;
        let mut tmux = terminal.tmux();
        tmux.args(["new-session", "-d", "-x", "120", "-y", "40"]);
        // tmux does not always tell how a program ended, so a shell does, and stays for the screen to be looked at.
        let script = "\"$0\" \"$@\"; echo \"exit code $?\"; exec cat";
        tmux.args(["sh", "-c", script]).arg(lbctl).args(arguments);
        programs::run(&mut tmux)?;
        Ok(terminal)
    }

    fn tmux(&self) -> Command {
        let mut tmux = Command::new("tmux");
        tmux.env("LC_ALL", "C.UTF-8").env("TERM", "xterm-256color").env("TMUX_TMPDIR", self.folder.path());
        tmux.env_remove("NO_COLOR").env_remove("LBCTL_SOCKET").env_remove("TMUX");
        tmux.args(["-L", &self.server, "-f", "/dev/null"]);
        tmux
    }

    fn ask(&self, arguments: &[&str]) -> Result<String> {
        let output = programs::run(self.tmux().args(arguments))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Types letters; names of keys such as `Enter` are keys.
    fn press(&self, keys: &[&str]) -> Result<()> {
        self.ask(&[&["send-keys"], keys].concat()).map(drop)
    }

    fn screen(&self) -> Result<String> {
        self.ask(&["capture-pane", "-p"])
    }

    /// Waits until all of these are on the screen.
    fn shows(&self, words: &[&str]) -> Result<String> {
        poll::until(&format!("the screen shows {words:?}"), PATIENCE, || {
            let screen = self.screen()?;
            ensure!(words.iter().all(|word| screen.contains(word)), "\n{screen}");
            Ok(screen)
        })
    }

    fn resize(&self, width: &str, height: &str) -> Result<()> {
        self.ask(&["resize-window", "-x", width, "-y", height]).map(drop)
    }

    /// The process of `lbctl`, which is the shell's child.
    fn pid(&self) -> Result<u32> {
        let shell = self.ask(&["display-message", "-p", "#{pane_pid}"])?;
        let output = programs::run(Command::new("ps").args(["-o", "pid=", "--ppid", shell.trim()]))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
    }

    /// Waits until it has ended well, and the terminal is as it was before.
    fn expect_end(&self) -> Result<()> {
        let screen = self.shows(&["exit code "])?;
        ensure!(screen.starts_with("exit code 0"), "{screen}");
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // One whose server has gone already needs nothing more.
        let _ = self.tmux().arg("kill-server").output();
    }
}

fn state(lab: &Lab, node: &str) -> Result<AdminState> {
    let text = lbctl_on(lab, node, &["-o", "json", "backend", "list", "web"])?;
    let backends: Vec<BackendView> = serde_json::from_str(&text)?;
    let found = backends.iter().find(|backend| backend.name.as_str() == "web1");
    Ok(found.context("no web1")?.state)
}

fn expect_states(lab: &Lab, wanted: [AdminState; 2]) -> Result<()> {
    poll::until(&format!("web1 is {wanted:?}"), PATIENCE, || {
        let found = [state(lab, "lb1")?, state(lab, "lb2")?];
        ensure!(found == wanted, "{found:?}");
        Ok(())
    })
}

/// User and system time of a process.
fn cpu_time(pid: u32) -> Result<Duration> {
    let mut all = Duration::ZERO;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // To the nanosecond, where `stat` has what a clock of 10 ms happened to see.
        let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        let running = text.split_whitespace().next().context("no times")?;
        all += Duration::from_nanos(running.parse()?);
    }
    Ok(all)
}

#[test]
fn both_nodes_are_followed_and_what_is_changed_is_confirmed_first() -> Result<()> {
    let lab = failover_lab()?;
    let terminal = Terminal::start(&lab, "write", &["tui", "--write"])?;
    terminal.shows(&["[1 Overview]", "lb1 U up", "lb2 U up", "S in sync", "U10"])?;

    // A drain, on one node and on no other.
    terminal.press(&["3", "/", "web1 10.80.0.21:80 lb1", "Enter"])?;
    terminal.shows(&["[3 Backends]", "/web1 10.80.0.21:80 lb1  1/3"])?;
    terminal.press(&["g", "d"])?;
    terminal.shows(&["Drain backend web1 of service web on lb1?", "y yes, on lb1", "a on all: lb1, lb2"])?;
    expect_states(&lab, [AdminState::Ready; 2])?;
    terminal.press(&["y"])?;
    expect_states(&lab, [AdminState::Drain, AdminState::Ready])?;
    terminal.shows(&["N drain", "lb1: service web: backend web1: state ready"])?;

    // The same for all nodes at once, and a no.
    terminal.press(&["m", "n"])?;
    terminal.shows(&["nothing was changed"])?;
    terminal.press(&["r", "a"])?;
    expect_states(&lab, [AdminState::Ready; 2])?;
    terminal.shows(&["R ready"])?;

    // A VIP, to the other node.
    terminal.press(&["6", "/", "lb1 active ipv4", "Enter"])?;
    terminal.shows(&["[6 VRRP]", "A Active", "1/2"])?;
    terminal.press(&["g", "F"])?;
    terminal.shows(&["Hand VIP A over from lb1 to another node?"])?;
    expect_state(&lab, "lb1", "A", "active")?;
    terminal.press(&["y"])?;
    expect_state(&lab, "lb2", "A", "active")?;
    terminal.shows(&["1/1"])?;

    terminal.press(&["q"])?;
    terminal.expect_end()?;
    lab.down()
}

#[test]
fn it_only_reads_takes_little_and_outlives_the_agents() -> Result<()> {
    let lab = failover_lab()?;
    let terminal = Terminal::start(&lab, "read", &["tui"])?;
    terminal.shows(&["lb1 U up", "lb2 U up", "read-only"])?;
    terminal.press(&["3", "d"])?;
    terminal.shows(&["[3 Backends]", "read-only: `lbctl tui --write` may change things"])?;
    terminal.press(&["y", "1"])?;
    terminal.shows(&["[1 Overview]"])?;
    expect_states(&lab, [AdminState::Ready; 2])?;

    let pid = terminal.pid()?;
    ensure!(std::fs::read_to_string(format!("/proc/{pid}/comm"))? == "lbctl\n", "{pid} is another program");
    let before = cpu_time(pid)?;
    // Nothing to wait for but the time itself.
    ensure!(!poll::wait(IDLE, || false), "it is measured for that long");
    let taken = cpu_time(pid)? - before;
    println!("idle for {IDLE:?}: {taken:?} of a CPU");
    ensure!(taken < IDLE / 100, "{taken:?} in {IDLE:?} of doing nothing");

    // Any size, and none that is too small.
    terminal.resize("50", "12")?;
    terminal.shows(&["50x12 is too small", "60x15 is needed"])?;
    terminal.resize("60", "15")?;
    terminal.shows(&["[1 Overview] 2  3", "lb1 U up"])?;
    terminal.resize("100", "30")?;

    // The other node goes on being followed.
    lab.kill_agent("lb1", Signal::SIGKILL)?;
    terminal.shows(&["lb1 X gone for", "lb1 is gone: no agent answers", "lb2 U up"])?;
    lab.start_agent("lb1")?;
    terminal.shows(&["lb1 U up", "lb2 U up"])?;
    wait_for_health(&lab, "lb1", "web1", BackendHealth::Up)?;
    // What the new agent says comes from it, not from memory.
    lbctl(&lab, &["backend", "set", "web", "web1", "--weight", "77"])?;
    terminal.press(&["3", "/", "lb1 web1 77", "Enter"])?;
    terminal.shows(&["lb1 ", "  77  ", "1/1"])?;
    terminal.press(&["7"])?;
    terminal.shows(&["[7 MySQL]", "no statements of databases"])?;
    terminal.press(&["8"])?;
    terminal.shows(&["[8 Events]", "weight 1 ", "S start"])?;

    terminal.press(&["C-c"])?;
    terminal.expect_end()?;
    let nobody = Command::new(lab.setup().lbctl.as_ref().context("no lbctl")?).arg("tui").output()?;
    ensure!(nobody.status.code() == Some(1), "without a terminal: {nobody:?}");
    lab.down()
}
