//! A machine of its own with systemd, on the network of one of the lab's hosts: a container of systemd-nspawn, from a root folder that it does not change.

use anyhow::{Context as _, Result, ensure};
use lbctl_tests::lab::{Lab, control_groups, poll, processes};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Names the root folder.
const VARIABLE: &str = "LBCTL_SYSTEMD_ROOT";
/// systemd's own start.
const BOOTED_WITHIN: Duration = Duration::from_secs(60);
/// The container as a process of the lab, which ends it whatever happens to the test.
const PROCESS: &str = "container";

/// What the agent needs, and containers do not have by default.
const CALLS: &str = "'bpf landlock_create_ruleset landlock_add_rule landlock_restrict_self'";

/// A container that has booted.
pub(super) struct Container {
    host: String,
    /// Its first process, as this machine numbers it.
    init: i32,
    /// Goes after it.
    _groups: Groups,
}

impl Container {
    /// Boots one in the place of a host, with that file at `/lbctl.deb`.
    pub(super) fn boot(lab: &Lab, host: &str, package: &Path) -> Result<Self> {
        let root =
            std::env::var(VARIABLE).with_context(|| format!("{VARIABLE} has to name a root folder"))?;
        let groups = Groups(host.to_owned(), control_groups::make(host)?);
        let words = [
            format!("--directory={root}"),
            // What is changed goes into memory, and with the container.
            "--volatile=overlay".to_owned(),
            "--boot".to_owned(),
            "--quiet".to_owned(),
            "--console=pipe".to_owned(),
            "--register=no".to_owned(),
            "--keep-unit".to_owned(),
            format!("--machine={host}"),
            format!("--network-namespace-path=/run/netns/lab-{host}"),
            "--capability=all".to_owned(),
            format!("--system-call-filter={CALLS}"),
            format!("--bind-ro={}:/lbctl.deb", package.display()),
        ];
        let script = format!("{}exec systemd-nspawn {}", groups.join(), words.join(" "));
        processes::start(lab, host, PROCESS, Path::new("sh"), &["-ec", &script])?;
        let pid = lab.process_id(host, PROCESS)?;
        let init = poll::until("the container has a first process", BOOTED_WITHIN, || first_child(pid))?;
        let container = Self { host: host.to_owned(), init, _groups: groups };
        poll::until("systemd has started", BOOTED_WITHIN, || {
            let state = container.run("systemctl is-system-running || true")?;
            ensure!(["running", "degraded"].contains(&state.trim()), "it is {state}");
            Ok(())
        })?;
        // sudo asks who it is on, and nobody answers here.
        container.run("echo \"127.0.1.1 $(hostname)\" >> /etc/hosts")?;
        Ok(container)
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--all", "--target", &self.init.to_string(), "--", "/bin/sh", "-ec", script]);
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("DEBIAN_FRONTEND", "noninteractive").env("HOME", "/root");
        command
    }

    /// What a shell in it prints; an error if it does not end well.
    pub(super) fn run(&self, script: &str) -> Result<String> {
        let output = self.command(script).stdin(Stdio::null()).output().context("nsenter")?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{} on {}: {}\n{out}{err}", script, self.host, output.status);
        Ok(out.into_owned())
    }

    pub(super) fn read(&self, path: &str) -> Result<String> {
        self.run(&format!("cat {path}"))
    }

    /// Writes a file, as a whole.
    pub(super) fn write(&self, path: &str, text: &str, owner: &str, mode: &str) -> Result<()> {
        let script = format!("cat > {path}; chown {owner} {path}; chmod {mode} {path}");
        let mut child = self.command(&script).stdin(Stdio::piped()).spawn().context("nsenter")?;
        child.stdin.take().context("its input")?.write_all(text.as_bytes())?;
        ensure!(child.wait()?.success(), "{path} on {} was not written", self.host);
        Ok(())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // The lab ends what is still there after that.
        let _ = self.run("systemctl poweroff --force --force");
        let _ = poll::until("the container is gone", Duration::from_secs(10), || {
            ensure!(!Path::new(&format!("/proc/{}", self.init)).exists(), "it is there");
            Ok(())
        });
    }
}

/// Its groups of processes, which systemd makes others in, and which are not left behind.
struct Groups(String, Vec<PathBuf>);

impl Groups {
    /// What a shell does to be in them.
    fn join(&self) -> String {
        self.1.iter().map(|folder| format!("echo $$ > {}/cgroup.procs; ", folder.display())).collect()
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        control_groups::remove(&self.0);
    }
}

/// The process that has become systemd: others prepare the way.
fn first_child(pid: i32) -> Result<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let is_systemd = |child: &&str| {
        fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|name| name.trim() == "systemd")
    };
    let child = children.split_whitespace().find(is_systemd).context("no systemd yet")?;
    Ok(child.parse()?)
}
