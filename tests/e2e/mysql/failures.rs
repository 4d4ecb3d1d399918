//! Servers that stop, fall behind, or take each other's place.

use super::client::Client;
use super::{lab, roles, run, view};
use crate::client::{PATIENCE, lbctl_json};
use anyhow::{Context as _, Result, ensure};
use lb_user::api::Status;
use lbctl_tests::lab::{Lab, poll};
use nix::sys::signal::Signal;
use std::time::Duration;

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
    lab.database_query("db1", "CREATE TABLE notes.n (id INT PRIMARY KEY)")?;
    let mut client = Client::open(&lab, 3306)?;
    let mut number = 0;
    let mut write_and_read = |client: &mut Client| -> Result<()> {
        number += 1;
        client.tell(&format!("INSERT INTO n VALUES ({number})"))?;
        let answer = client.ask(&format!("SELECT COUNT(*) FROM n WHERE id = {number}"))?;
        ensure!(answer == "1", "stale or refused: {answer}");
        Ok(())
    };
    write_and_read(&mut client)?;
    // It hears, and repeats nothing: what is read is waited for, and then asked of the primary.
    lab.database_query("db2", "STOP SLAVE SQL_THREAD")?;
    (0..20).try_for_each(|_| write_and_read(&mut client))?;
    wait_for(&lab, [("db1", "primary"), ("db2", "unfit")])?;
    (0..20).try_for_each(|_| write_and_read(&mut client))?;
    lab.database_query("db2", "START SLAVE")?;
    wait_for(&lab, [("db1", "primary"), ("db2", "replica")])?;
    (0..20).try_for_each(|_| write_and_read(&mut client))?;
    // It hangs: whoever waits for it is answered by the primary once nobody hears of it.
    let mut other = Client::open(&lab, 3306)?;
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
    lab.database_query("db2", "START SLAVE").ok();
    wait_for(&lab, [("db1", "primary"), ("db2", "replica")])?;
    (0..20).try_for_each(|_| write_and_read(&mut client))?;
    client.close()?;
    other.close()?;
    lab.down()
}

#[test]
fn sessions_go_on_at_another_primary_and_two_that_take_writes_are_none() -> Result<()> {
    let lab = lab()?;
    lab.database_query("db1", "CREATE TABLE notes.n (id INT PRIMARY KEY)")?;
    let (mut idle, mut busy) = (Client::open(&lab, 3306)?, Client::open(&lab, 3306)?);
    ensure!(idle.ask("SET @kept = 'still known'; SELECT 1")? == "1");
    busy.tell("BEGIN;\nINSERT INTO n VALUES (1)")?;
    ensure!(busy.ask("SELECT 'open'")? == "open");

    // Two take writes: none is chosen, and that is said to whoever writes and in the status.
    lab.database_query("db2", "SET GLOBAL read_only = 0")?;
    wait_for(&lab, [("db1", "unfit"), ("db2", "unfit")])?;
    let status: Status = lbctl_json(&lab, &["status"])?;
    ensure!(
        status.warnings.iter().any(|one| one.contains("db1 and db2 take writes")),
        "{:?}",
        status.warnings
    );
    ensure!(view(&lab)?.primary.is_none());
    lab.database_query("db2", "SET GLOBAL read_only = 1")?;
    wait_for(&lab, [("db1", "primary"), ("db2", "replica")])?;

    // The primary dies; somebody promotes the replica.
    lab.kill_database("db1", Signal::SIGKILL)?;
    busy.error_of("INSERT INTO n VALUES (2)", PATIENCE)
        .context("a transaction goes on without its server")?;
    lab.database_query("db2", "STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only = 0")?;
    let kept = idle.ask_within("INSERT INTO n VALUES (3); SELECT @kept", Duration::from_secs(20))?;
    ensure!(kept == "still known", "{kept}");
    wait_for(&lab, [("db1", "unfit"), ("db2", "primary")])?;
    let answer = run(&lab, 3306, &[], "SELECT GROUP_CONCAT(id ORDER BY id) FROM n;;")?;
    ensure!(answer.trim() == "3", "what was not committed is there, or what was is not: {answer}");
    idle.close()?;
    busy.close()?;
    lab.down()
}
