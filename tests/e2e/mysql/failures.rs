//! Servers that stop, fall behind, or take each other's place.

use super::client::Client;
use super::{lab, roles, run, view};
use crate::client::{PATIENCE, lbctl, lbctl_json, try_lbctl};
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

#[test]
fn a_replica_that_hangs_while_it_is_made_ready_costs_a_moment_and_no_answer() -> Result<()> {
    let lab = lab()?;
    lab.database_query("db1", "CREATE TABLE notes.n (id INT PRIMARY KEY); INSERT INTO notes.n VALUES (1)")?;
    let mut client = Client::open(&lab, 3306)?;
    // Its next read has settings to say there, and a position to wait for.
    ensure!(client.ask("SELECT 'begun'")? == "begun");
    client.tell("SET time_zone = '+01:00'")?;
    client.tell("INSERT INTO n VALUES (2)")?;
    lab.kill_database("db2", Signal::SIGSTOP)?;
    let begun = std::time::Instant::now();
    let answered = client.ask_within("SELECT COUNT(*) FROM n", 2 * PATIENCE);
    let mut other = Client::open(&lab, 3306)?;
    let another = other.ask_within("SELECT COUNT(*) FROM n", 2 * PATIENCE);
    lab.kill_database("db2", Signal::SIGCONT)?;
    ensure!(answered? == "2" && another? == "2");
    ensure!(begun.elapsed() < Duration::from_secs(15), "it took {:?}", begun.elapsed());
    client.close()?;
    other.close()?;
    lab.down()
}

#[test]
fn what_a_session_began_at_a_primary_does_not_go_on_where_that_takes_no_writes_any_more() -> Result<()> {
    let lab = lab()?;
    // A user whom `read_only` does not hold.
    lab.database_query(
        "db1",
        "CREATE TABLE notes.n (id INT PRIMARY KEY); GRANT SUPER, READ_ONLY ADMIN ON *.* TO 'app'@'%'",
    )?;
    let mut bound = Client::open(&lab, 3306)?;
    ensure!(bound.ask("CREATE TEMPORARY TABLE held (id INT);\nSELECT 'held'")? == "held");
    let mut free = Client::open(&lab, 3306)?;
    ensure!(free.ask("SELECT 'free'")? == "free");
    lab.database_query("db1", "SET GLOBAL read_only = 1")?;
    lab.database_query("db2", "STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only = 0")?;
    wait_for(&lab, [("db1", "unfit"), ("db2", "primary")])?;
    bound.error_of("INSERT INTO n VALUES (1)", PATIENCE).context("it goes on at a primary that is none")?;
    ensure!(free.ask("INSERT INTO n VALUES (2);\nSELECT 'written'")? == "written");
    let at = |db: &str| lab.database_query(db, "SELECT GROUP_CONCAT(id) FROM notes.n");
    ensure!(at("db1")?.trim() == "NULL" && at("db2")?.trim() == "2", "{} {}", at("db1")?, at("db2")?);
    bound.close()?;
    free.close()?;
    lab.down()
}

/// What is written by something that looks like a read: its client cannot be told of it.
#[test]
fn what_seemed_to_read_and_wrote_is_read_by_its_session_and_never_sent_twice() -> Result<()> {
    let lab = lab()?;
    lab.database_query(
        "db1",
        "USE notes; CREATE TABLE n (id INT); CREATE TABLE there (id INT);\nDELIMITER ;;\n\
         CREATE FUNCTION f(n INT) RETURNS INT MODIFIES SQL DATA DETERMINISTIC BEGIN INSERT INTO n VALUES (n); RETURN n; END;;\n\
         CREATE FUNCTION slow(n INT) RETURNS INT MODIFIES SQL DATA DETERMINISTIC BEGIN INSERT INTO n VALUES (n); RETURN SLEEP(30); END;;\n\
         DELIMITER ;\nCREATE VIEW writing AS SELECT f(1) AS id; CREATE VIEW writes_slowly AS SELECT slow(9) AS id",
    )?;
    lab.replicate()?;
    let mut client = Client::open(&lab, 3306)?;
    ensure!(client.ask("SELECT COUNT(*) FROM there")? == "0");
    lab.database_query("db2", "STOP SLAVE SQL_THREAD")?;
    ensure!(client.ask("SELECT * FROM writing")? == "1");
    ensure!(client.ask("SELECT COUNT(*) FROM n WHERE id = 1")? == "1", "what the view wrote is not there");
    ensure!(client.ask("INSERT INTO n VALUES (2) RETURNING id")? == "2");
    ensure!(client.ask("SELECT COUNT(*) FROM n WHERE id = 2")? == "1", "what was returned is not there");
    client.error_of("DROP TABLE there, missing", PATIENCE)?;
    client.error_of("SELECT COUNT(*) FROM there", PATIENCE).context("it is still there at a replica")?;
    lab.database_query("db2", "START SLAVE")?;
    wait_for(&lab, [("db1", "primary"), ("db2", "replica")])?;

    // The primary dies while a view writes; another one must not write it again.
    client.tell("SELECT * FROM writes_slowly")?;
    poll::until("it runs", PATIENCE, || {
        let list = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT * FROM writes_slowly%'";
        ensure!(lab.database_query("db1", list)?.trim() == "1");
        Ok(())
    })?;
    lab.replicate()?;
    lab.kill_database("db1", Signal::SIGKILL)?;
    lab.database_query("db2", "STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only = 0")?;
    let error = client.error_of("SELECT 'next'", PATIENCE)?;
    ensure!(error.contains("ERROR 1053"), "{error}");
    let written = lab.database_query("db2", "SELECT COUNT(*) FROM notes.n WHERE id = 9")?;
    ensure!(written.trim() == "0", "it was sent again, and wrote");
    client.close()?;
    lab.down()
}

#[test]
fn sessions_are_ended_while_they_run_something() -> Result<()> {
    let lab = lab()?;
    let are_running = |expected: u32| -> Result<()> {
        let list = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT COUNT(*) FROM seq_1%'";
        let mut count = 0;
        for db in ["db1", "db2"] {
            count += lab.database_query(db, list)?.trim().parse::<u32>()?;
        }
        ensure!(count == expected, "{count} run");
        Ok(())
    };
    let long = "SELECT COUNT(*) FROM seq_1_to_1000000 AS a, seq_1_to_1000000 AS b";
    let mut client = Client::open(&lab, 3306)?;
    ensure!(client.ask("SELECT 'here'")? == "here");
    // By the number that the primary tells, wherever it runs.
    let thread = client.ask("SELECT CONNECTION_ID()")?;
    client.tell(long)?;
    poll::until("it runs", PATIENCE, || are_running(1))?;
    ensure!(run(&lab, 3306, &[], &format!("KILL QUERY {thread};;"))?.is_empty());
    let error = client.error_of("SELECT 'on'", PATIENCE)?;
    ensure!(error.contains("ERROR 1317"), "{error}");
    // By the operator.
    client.tell(long)?;
    poll::until("it runs", PATIENCE, || are_running(1))?;
    let number = view(&lab)?.sessions.iter().map(|one| one.number).max().context("no session")?;
    lbctl(&lab, &["mysql", "kill", &number.to_string()])?;
    client.error_of("SELECT 'gone'", PATIENCE)?;
    poll::until("it is ended at its server, too", PATIENCE, || are_running(0))?;
    client.close()?;
    a_client_that_leaves_waits_for_nothing_any_more(&lab)?;
    lab.down()
}

/// Its server finds out, as if it were connected there: locks that nobody waits for are not handed to it.
fn a_client_that_leaves_waits_for_nothing_any_more(lab: &Lab) -> Result<()> {
    let list =
        "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%GET_LOCK(''left'', 600)'";
    let wait = |count: &str| {
        poll::until(&format!("{count} wait for the lock"), PATIENCE, || {
            let found = lab.database_query("db1", list)?;
            ensure!(found.trim() == count, "{found}");
            Ok(())
        })
    };
    let mut holder = Client::open(lab, 3306)?;
    ensure!(holder.ask("SELECT GET_LOCK('left', 0)")? == "1");
    let mut client = Client::open(lab, 3306)?;
    client.tell("SELECT GET_LOCK('left', 600)")?;
    wait("1")?;
    client.leave()?;
    wait("0")?;
    holder.close().map(drop)
}

#[test]
fn what_only_a_lost_connection_knew_is_refused_and_not_made_up() -> Result<()> {
    let lab = lab()?;
    lab.database_query(
        "db1",
        "CREATE TABLE notes.a (id INT AUTO_INCREMENT PRIMARY KEY); CREATE TABLE notes.child (a INT)",
    )?;
    let mut client = Client::open(&lab, 3306)?;
    ensure!(client.ask("INSERT INTO a VALUES (NULL);\nSELECT LAST_INSERT_ID()")? == "1");
    // Its server ends the connection, as it does with idle ones.
    let thread = client.ask("SELECT CONNECTION_ID()")?;
    lab.database_query("db1", &format!("KILL {thread}"))?;
    let error = client.error_of("INSERT INTO child VALUES (LAST_INSERT_ID())", PATIENCE)?;
    ensure!(error.contains("ERROR 1927"), "{error}");
    ensure!(client.ask("SELECT COUNT(*) FROM child")? == "0", "a made up id was written");
    ensure!(
        client.ask(
            "INSERT INTO a VALUES (NULL);\nINSERT INTO child VALUES (LAST_INSERT_ID());\nSELECT a FROM child"
        )? == "2"
    );
    client.close()?;
    lab.down()
}

#[test]
fn what_a_session_has_at_the_primary_stays_while_it_reads_at_replicas_alone() -> Result<()> {
    let lab = lab()?;
    // Servers end connections on which nothing is said for that long.
    lab.database_query("db1", "SET GLOBAL wait_timeout = 3")?;
    let mut client = Client::open(&lab, 3306)?;
    ensure!(
        client.ask("CREATE TEMPORARY TABLE held (id INT);\nINSERT INTO held VALUES (7);\nSELECT 'held'")?
            == "held"
    );
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(6) {
        ensure!(client.ask("SELECT SLEEP(0.5)")? == "0");
    }
    ensure!(client.ask("SELECT id FROM held")? == "7");
    client.close()?;
    lab.down()
}

#[test]
fn a_replica_takes_the_primarys_place_when_it_has_everything_and_sessions_go_on() -> Result<()> {
    promote(&super::mariadb_server())
}

#[test]
fn a_replica_takes_the_primarys_place_with_mysql() -> Result<()> {
    promote(&super::mysql_server()?)
}

fn promote(server: &super::Server) -> Result<()> {
    let lab = super::lab_of(server)?;
    lab.database_query("db1", "CREATE TABLE notes.n (id INT PRIMARY KEY)")?;
    lab.replicate()?;
    let refused = |arguments: &[&str], words: &str| -> Result<()> {
        let said = try_lbctl(&lab, &[&["mysql", "promote"], arguments].concat())?;
        ensure!(said.code != Some(0) && said.err.contains(words), "{arguments:?}: {said:?}");
        Ok(())
    };
    refused(&["db1"], "it is the primary")?;
    refused(&["db3"], "has no backend db3")?;
    refused(&["db2", "--primary-is-down"], "db1 is there and takes writes")?;
    // It lacks something and does not get it: the old one takes writes again.
    let (stop, start) = match server.name {
        "mysql" => ("STOP REPLICA SQL_THREAD", "START REPLICA"),
        _ => ("STOP SLAVE SQL_THREAD", "START SLAVE"),
    };
    let mut client = Client::open(&lab, 3306)?;
    ensure!(client.ask("SELECT 'begun'")? == "begun");
    lab.database_query("db2", stop)?;
    client.tell("INSERT INTO n VALUES (1)")?;
    ensure!(client.ask("SELECT COUNT(*) FROM n")? == "1");
    let begun = lbctl(&lab, &["mysql", "promote", "db2", "--within", "1s"]);
    ensure!(begun.is_err(), "it was promoted without what was written");
    ensure!(
        client.ask("INSERT INTO n VALUES (2);\nSELECT 'written'")? == "written",
        "the old one stays read only"
    );
    lab.database_query("db2", start)?;
    wait_for(&lab, [("db1", "primary"), ("db2", "replica")])?;
    // Somebody holds a lock: the old one cannot be made read only in time, and does not become so later.
    let mut holder = Client::open(&lab, 3306)?;
    ensure!(holder.ask("LOCK TABLES n WRITE;\nSELECT 'held'")? == "held");
    ensure!(
        lbctl(&lab, &["mysql", "promote", "db2", "--within", "1s"]).is_err(),
        "it did not wait for the lock"
    );
    ensure!(holder.ask("INSERT INTO n VALUES (3);\nUNLOCK TABLES;\nSELECT 'free'")? == "free");
    holder.close()?;
    ensure!(lab.database_query("db1", "SELECT @@global.read_only")?.trim() == "0");
    wait_for(&lab, [("db1", "primary"), ("db2", "replica")])?;

    let said = lbctl(&lab, &["mysql", "promote", "db2"])?;
    ensure!(said.contains("service db: db2 takes writes") && !said.contains("left to do"), "{said}");
    wait_for(&lab, [("db1", "replica"), ("db2", "primary")])?;
    // The same session goes on, and reads what it writes.
    for id in 10..30 {
        client.tell(&format!("INSERT INTO n VALUES ({id})"))?;
        let found = client.ask(&format!("SELECT COUNT(*) FROM n WHERE id = {id}"))?;
        ensure!(found == "1", "{id}: {found}");
    }
    poll::until("the old one has what the new one wrote", PATIENCE, || {
        let count = lab.database_query("db1", "SELECT COUNT(*) FROM notes.n")?;
        ensure!(count.trim() == "23", "{count}");
        Ok(())
    })?;

    // It dies: the other one takes over when that is said.
    lab.kill_database("db2", Signal::SIGKILL)?;
    wait_for(&lab, [("db1", "unfit"), ("db2", "unfit")])?;
    refused(&["db1"], "there is no primary")?;
    lbctl(&lab, &["mysql", "promote", "db1", "--primary-is-down"])?;
    wait_for(&lab, [("db1", "primary"), ("db2", "unfit")])?;
    ensure!(client.ask("INSERT INTO n VALUES (99);\nSELECT COUNT(*) FROM n")? == "24");
    client.close()?;
    lab.down()
}
