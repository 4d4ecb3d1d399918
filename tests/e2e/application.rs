//! The whole reference system: the application writes and reads notes through the `db` service.

use crate::client::{client_shell, lbctl, vips};
use anyhow::{Context as _, Result, ensure};
use lb_user::api::FlowList;
use lbctl_tests::lab::{Lab, Options};
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

/// One connection of MariaDB's client, from web1 through VIP A.
struct Session {
    client: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Session {
    fn open(lab: &Lab) -> Result<Self> {
        let mut command = lab.host("web1").command("mariadb");
        command.args(["--no-defaults", "--batch", "--skip-column-names", "--unbuffered", "--skip-ssl"]);
        command.args(["--host=10.80.0.100", "--port=3306", "--protocol=tcp", "--skip-reconnect"]);
        command.args(["--user=app", "--password=app-password", "notes"]);
        let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("mariadb")?;
        let questions = client.stdin.take().context("its input")?;
        let answers = BufReader::new(client.stdout.take().context("its output")?);
        Ok(Self { client, questions, answers })
    }

    fn ask(&mut self, question: &str) -> Result<String> {
        writeln!(self.questions, "{question};")?;
        self.questions.flush()?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        ensure!(!answer.is_empty(), "the connection ended at {question:?}");
        Ok(answer.trim_end().to_owned())
    }

    fn close(mut self) -> Result<()> {
        drop(self.questions);
        ensure!(self.client.wait()?.success(), "the client failed");
        Ok(())
    }
}

#[test]
fn the_application_keeps_notes_through_the_load_balancer() -> Result<()> {
    let lab = Lab::up(Options::default())?;
    notes_that_come_by_one_vip_are_seen_by_all(&lab)?;
    a_database_connection_outlives_the_agent(&lab)?;
    lab.down()
}

fn notes_that_come_by_one_vip_are_seen_by_all(lab: &Lab) -> Result<()> {
    for (number, vip) in vips().into_iter().enumerate() {
        let at = |vip| format!("http://{}/api/notes", SocketAddr::new(vip, 80));
        let text = format!("note {number} from {vip}");
        let note = format!(r#"{{"text": "{text}"}}"#);
        let said = client_shell(lab, &format!("curl -sS --fail-with-body --json '{note}' '{}'", at(vip)))?;
        ensure!(said.contains(&text), "{said}");
        for other in vips() {
            let list = client_shell(lab, &format!("curl -sS --fail-with-body '{}'", at(other)))?;
            ensure!(list.contains(&text), "{text:?} is not at {other}: {list}");
        }
    }
    Ok(())
}

fn a_database_connection_outlives_the_agent(lab: &Lab) -> Result<()> {
    let mut session = Session::open(lab)?;
    let id = session.ask("SELECT CONNECTION_ID()")?;
    let flows: FlowList =
        serde_json::from_str(&lbctl(lab, &["-o", "json", "flow", "list", "--service", "db"])?)?;
    let ours = flows.flows.iter().filter(|flow| flow.vip.to_string() == "10.80.0.100:3306").count();
    ensure!(ours > 0, "the connection's flow is not listed: {:?}", flows.flows);
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        lab.kill_agent("lb1", signal)?;
        ensure!(session.ask("SELECT CONNECTION_ID()")? == id, "without an agent: another connection");
        lab.start_agent("lb1")?;
        ensure!(session.ask("SELECT CONNECTION_ID()")? == id, "after {signal}: another connection");
    }
    session.close()
}
