//! MariaDB's own client, as the application's user on web1.

use crate::client::PATIENCE;
use anyhow::{Context as _, Result};
use lbctl_tests::lab::Lab;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// The command, for statements at its input; what it prints is for programs.
pub(super) fn mariadb(lab: &Lab, port: u16) -> Command {
    let mut command = lab.host("web1").command("mariadb");
    command.args([
        "--no-defaults",
        "--host=10.80.0.100",
        "--user=app",
        "--password=app-password",
        "--skip-ssl",
    ]);
    command.args([
        "--database=notes",
        "--connect-timeout=5",
        "--batch",
        "--skip-column-names",
        "--unbuffered",
    ]);
    command.arg(format!("--port={port}")).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// A client with one session.
pub(crate) struct Client {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Client {
    /// Through VIP A, at that port; it does not connect again when it loses its connection, and goes on after errors.
    pub(crate) fn open(lab: &Lab, port: u16) -> Result<Self> {
        let mut command = mariadb(lab, port);
        command.args(["--skip-reconnect", "--force"]);
        let mut child = command.stderr(Stdio::piped()).spawn().context("mariadb")?;
        let input = child.stdin.take().context("its input")?;
        let (sender, lines) = channel();
        let streams: [Box<dyn std::io::Read + Send>; 2] = [
            Box::new(child.stdout.take().context("its output")?),
            Box::new(child.stderr.take().context("its errors")?),
        ];
        for stream in streams {
            let sender = sender.clone();
            std::thread::spawn(move || {
                BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
            });
        }
        Ok(Self { child, input, lines })
    }

    /// A statement whose answer, or error, is one line.
    pub(crate) fn ask(&mut self, sql: &str) -> Result<String> {
        self.ask_within(sql, PATIENCE)
    }

    pub(crate) fn ask_within(&mut self, sql: &str, patience: Duration) -> Result<String> {
        self.tell(sql)?;
        self.lines.recv_timeout(patience).with_context(|| format!("no answer to {sql}"))
    }

    /// What a statement is refused with.
    pub(crate) fn error_of(&mut self, sql: &str, patience: Duration) -> Result<String> {
        self.tell(sql)?;
        let mut lines = std::iter::from_fn(|| self.lines.recv_timeout(patience).ok());
        lines.find(|line| line.contains("ERROR")).with_context(|| format!("no error of {sql}"))
    }

    /// A statement without an answer.
    pub(crate) fn tell(&mut self, sql: &str) -> Result<()> {
        writeln!(self.input, "{sql};")?;
        Ok(self.input.flush()?)
    }

    /// It leaves in the midst of something.
    pub(crate) fn leave(mut self) -> Result<()> {
        self.child.kill()?;
        Ok(self.child.wait().map(drop)?)
    }

    /// It leaves.
    pub(crate) fn close(self) -> Result<ExitStatus> {
        let Self { mut child, input, .. } = self;
        drop(input);
        Ok(child.wait()?)
    }
}
