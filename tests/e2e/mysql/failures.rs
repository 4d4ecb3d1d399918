//! Servers that stop, fall behind, or take each other's place.

use super::{administer, lab, roles, run, view};
use crate::client::{PATIENCE, lbctl_json};
use anyhow::{Context as _, Result, ensure};
use lb_user::api::Status;
use lbctl_tests::lab::{Lab, poll};
use nix::sys::signal::Signal;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A client with one session.
pub(super) struct Client {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Client {
    pub(super) fn open(lab: &Lab) -> Result<Self> {
        let mut command = lab.host("web1").command("mariadb");
        command.args(["--no-defaults", "--host=10.80.0.100", "--port=3306", "--user=app"]);
        command.args(["--password=app-password", "--skip-ssl", "--skip-reconnect", "--force", "--batch"]);
        command.args(["--unbuffered", "--skip-column-names", "notes"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
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
    pub(super) fn ask(&mut self, sql: &str) -> Result<String> {
        self.ask_within(sql, PATIENCE)
    }

    pub(super) fn ask_within(&mut self, sql: &str, patience: Duration) -> Result<String> {
        writeln!(self.input, "{sql};")?;
        self.input.flush()?;
        self.lines.recv_timeout(patience).with_context(|| format!("no answer to {sql}"))
    }

    /// What a statement is refused with.
    pub(super) fn error_of(&mut self, sql: &str) -> Result<String> {
        writeln!(self.input, "{sql};")?;
        self.input.flush()?;
        let mut lines = std::iter::from_fn(|| self.lines.recv_timeout(2 * PATIENCE).ok());
        lines.find(|line| line.contains("ERROR")).with_context(|| format!("no error of {sql}"))
    }

    pub(super) fn close(self) -> Result<()> {
        let Self { mut child, input, .. } = self;
        drop(input);
        child.wait()?;
        Ok(())
    }
}

fn wait_for(lab: &Lab, expected: [(&str, &str); 2]) -> Result<()> {
    poll::until(&format!("{expected:?}"), PATIENCE, || {
        let roles = roles(lab)?;
        ensure!(roles == expected.map(super::owned), "{roles:?}");
        Ok(())
    })
}

#[test]
fn a_replica_that_stops_or_falls_behind_costs_no_answer_and_no_stale_one() -> Result<()> {
    let lab = lab()?;
    administer(&lab, "db1", "CREATE TABLE notes.n (id INT PRIMARY KEY)")?;
    let mut client = Client::open(&lab)?;
    let mut number = 0;
    let mut write_and_read = |client: &mut Client| -> Result<()> {
        number += 1;
        writeln!(client.input, "INSERT INTO n VALUES ({number});")?;
        let answer = client.ask(&format!("SELECT COUNT(*) FROM n WHERE id = {number}"))?;
        ensure!(answer == "1", "stale or refused: {answer}");
        Ok(())
    };
    write_and_read(&mut client)?;
    // It hears, and repeats nothing: what is read is waited for, and then asked of the primary.
    administer(&lab, "db2", "STOP SLAVE SQL_THREAD")?;
    (0..20).try_for_each(|_| write_and_read(&mut client))?;
    wait_for(&lab, [("db1", "primary"), ("db2", "unfit")])?;
    (0..20).try_for_each(|_| write_and_read(&mut client))?;
    administer(&lab, "db2", "START SLAVE")?;
    wait_for(&lab, [("db1", "primary"), ("db2", "replica")])?;
    (0..20).try_for_each(|_| write_and_read(&mut client))?;
    // It hangs: whoever waits for it is answered by the primary once nobody hears of it.
    let mut other = Client::open(&lab)?;
    ensure!(other.ask("SELECT 'warm'")? == "warm");
    lab.kill_database("db2", Signal::SIGSTOP)?;
    let answered = other.ask_within("SELECT 'waited'", 2 * PATIENCE);
    lab.kill_database("db2", Signal::SIGCONT)?;
    ensure!(answered? == "waited");
    wait_for(&lab, [("db1", "primary"), ("db2", "replica")])?;
    // It dies while it is asked, and comes back.
    ensure!(other.ask("SELECT 'again'")? == "again");
    lab.kill_database("db2", Signal::SIGKILL)?;
    ensure!(other.ask("SELECT 'on'")? == "on", "the read was not answered by the primary");
    (0..20).try_for_each(|_| write_and_read(&mut client))?;
    lab.start_database("db2")?;
    administer(&lab, "db2", "START SLAVE").ok();
    wait_for(&lab, [("db1", "primary"), ("db2", "replica")])?;
    (0..20).try_for_each(|_| write_and_read(&mut client))?;
    client.close()?;
    other.close()?;
    lab.down()
}

#[test]
fn sessions_go_on_at_another_primary_and_two_that_take_writes_are_none() -> Result<()> {
    let lab = lab()?;
    administer(&lab, "db1", "CREATE TABLE notes.n (id INT PRIMARY KEY)")?;
    let (mut idle, mut busy) = (Client::open(&lab)?, Client::open(&lab)?);
    ensure!(idle.ask("SET @kept = 'still known'; SELECT 1")? == "1");
    writeln!(busy.input, "BEGIN;\nINSERT INTO n VALUES (1);")?;
    ensure!(busy.ask("SELECT 'open'")? == "open");

    // Two take writes: none is chosen, and that is said to whoever writes and in the status.
    administer(&lab, "db2", "SET GLOBAL read_only = 0")?;
    wait_for(&lab, [("db1", "unfit"), ("db2", "unfit")])?;
    let status: Status = lbctl_json(&lab, &["status"])?;
    ensure!(
        status.warnings.iter().any(|one| one.contains("db1 and db2 take writes")),
        "{:?}",
        status.warnings
    );
    ensure!(view(&lab)?.primary.is_none());
    administer(&lab, "db2", "SET GLOBAL read_only = 1")?;
    wait_for(&lab, [("db1", "primary"), ("db2", "replica")])?;

    // The primary dies; somebody promotes the replica.
    lab.kill_database("db1", Signal::SIGKILL)?;
    writeln!(busy.input, "INSERT INTO n VALUES (2);")?;
    let lost =
        std::iter::from_fn(|| busy.lines.recv_timeout(PATIENCE).ok()).find(|line| line.contains("ERROR"));
    ensure!(lost.is_some(), "a transaction goes on without its server");
    administer(&lab, "db2", "STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only = 0")?;
    let kept = idle.ask_within("INSERT INTO n VALUES (3); SELECT @kept", Duration::from_secs(20))?;
    ensure!(kept == "still known", "{kept}");
    wait_for(&lab, [("db1", "unfit"), ("db2", "primary")])?;
    let answer = run(&lab, 3306, &[], "SELECT GROUP_CONCAT(id ORDER BY id) FROM n;;")?;
    ensure!(answer.trim() == "3", "what was not committed is there, or what was is not: {answer}");
    idle.close()?;
    busy.close()?;
    lab.down()
}
