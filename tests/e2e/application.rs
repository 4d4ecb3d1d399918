//! The reference system's application through both VIPs, and a database connection that outlives its agent.

use crate::client::{PATIENCE, client_shell, lbctl_json, vips};
use crate::mysql::client::Client;
use anyhow::{Context as _, Result, ensure};
use lb_user::api::FlowList;
use lbctl_tests::lab::{Lab, Options, poll};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::net::SocketAddr;

#[test]
fn notes_go_in_by_one_vip_and_out_by_the_other_and_a_database_connection_outlives_its_agent() -> Result<()> {
    let lab = Lab::up(Options::default())?;
    let vips = vips();
    for (writing, reading) in vips.iter().zip(vips.iter().cycle().skip(2)) {
        a_note_is_seen_elsewhere(&lab, &SocketAddr::new(*writing, 80), &SocketAddr::new(*reading, 80))?;
    }
    a_connection_outlives_its_agent(&lab)?;
    lab.down()
}

fn a_note_is_seen_elsewhere(lab: &Lab, writing: &SocketAddr, reading: &SocketAddr) -> Result<()> {
    let text = format!("written through {writing}");
    let post = "curl -sS --max-time 10 -w '\\n%{http_code}' --json";
    let answer = client_shell(lab, &format!("{post} '{{\"text\": \"{text}\"}}' http://{writing}/api/notes"))?;
    let (note, status) = answer.rsplit_once('\n').context("no status")?;
    ensure!(status == "201", "{answer}");
    let note: Value = serde_json::from_str(note)?;
    ensure!(note["text"] == text.as_str() && note["id"].as_u64() > Some(0), "{note}");
    // Another session reads it, at a replica that is a moment behind.
    poll::until("the note is read elsewhere", PATIENCE, || {
        let list = client_shell(lab, &format!("curl -sS --fail --max-time 10 http://{reading}/api/notes"))?;
        let list: Value = serde_json::from_str(&list)?;
        ensure!(list["notes"][0] == note, "read through {reading}: {list}, not first {note}");
        Ok(())
    })
}

fn a_connection_outlives_its_agent(lab: &Lab) -> Result<()> {
    let primary: SocketAddr = "10.80.0.100:3307".parse()?;
    poll::until("the primary alone is reached", PATIENCE, || {
        lab.host("web1").inside(|| std::net::TcpStream::connect(primary).map(drop))??;
        Ok(())
    })?;
    let mut session = Client::open(lab, 3307)?;
    let connection = session.ask("SELECT CONNECTION_ID()")?;
    ensure!(connection.parse::<u64>().is_ok(), "{connection}");
    // Where the database sees the connection come from.
    let query = "SELECT host FROM information_schema.processlist WHERE id = CONNECTION_ID()";
    let nat: SocketAddr = session.ask(query)?.parse()?;
    is_listed(lab, nat)?;
    for _ in 0..2 {
        lab.kill_agent("lb1", Signal::SIGKILL)?;
        ensure!(session.ask("SELECT CONNECTION_ID()")? == connection, "not the same without an agent");
        lab.start_agent("lb1")?;
        ensure!(session.ask("SELECT CONNECTION_ID()")? == connection, "not the same after a restart");
    }
    is_listed(lab, nat)?;
    ensure!(session.close()?.success(), "the client failed");
    Ok(())
}

fn is_listed(lab: &Lab, nat: SocketAddr) -> Result<()> {
    let flow = poll::until("the flow is listed", PATIENCE, || {
        let list: FlowList = lbctl_json(lab, &["flow", "list", "--service", "db-primary"])?;
        list.flows.iter().find(|flow| flow.nat == nat).cloned().with_context(|| format!("{list:?}"))
    })?;
    assert_eq!(flow.client.ip().to_string(), "10.80.0.21");
    assert_eq!(flow.vip.to_string(), "10.80.0.100:3307");
    assert_eq!(flow.backend.to_string(), "10.80.0.31:3306");
    assert_eq!(flow.backend_name.as_ref().map(|name| name.as_str()), Some("db1"));
    assert_eq!(flow.state, "established");
    Ok(())
}
