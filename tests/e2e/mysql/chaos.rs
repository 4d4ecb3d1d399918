//! A bank whose servers are killed while money is moved: nothing is lost, nothing is done twice, and no sum is ever wrong.

use super::clients::options;
use super::{lab, roles, routes};
use crate::client::PATIENCE;
use anyhow::{Context as _, Result, bail, ensure};
use lbctl_tests::lab::{Lab, poll};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

const ACCOUNTS: u64 = 20;
const EACH: u64 = 1000;
const CLIENTS: u64 = 4;

/// What a client knows of what it did.
#[derive(Default)]
struct Known {
    /// Transfers that it was told are done.
    done: BTreeSet<u64>,
    /// Transfers that it was told are not, before anything could be.
    begun: u64,
    /// Reads that it made.
    reads: u64,
}

/// Moves money, and writes down that it did.
async fn transfer(connection: &mut Conn, id: u64) -> Result<(), mysql_async::Error> {
    let (from, to) = (id % ACCOUNTS, (id / 7 + 1) % ACCOUNTS);
    connection.query_drop("BEGIN").await?;
    connection.exec_drop("UPDATE accounts SET balance = balance - 1 WHERE id = ?", (from,)).await?;
    connection.exec_drop("UPDATE accounts SET balance = balance + 1 WHERE id = ?", (to,)).await?;
    connection.exec_drop("INSERT INTO ledger (transfer) VALUES (?)", (id,)).await?;
    connection.query_drop("COMMIT").await
}

/// One client, until it is told to stop. It never sends anything a second time.
async fn client(number: u64, is_over: &AtomicBool) -> Result<Known> {
    let mut known = Known::default();
    let mut connection: Option<Conn> = None;
    while !is_over.load(Ordering::Relaxed) {
        let Some(open) = &mut connection else {
            connection = Conn::new(options()).await.ok();
            continue;
        };
        let id = number + CLIENTS * known.begun;
        known.begun += 1;
        if transfer(open, id).await.is_err() {
            connection = None;
            continue;
        }
        known.done.insert(id);
        let own: Result<Option<u64>, _> =
            open.exec_first("SELECT COUNT(*) FROM ledger WHERE transfer = ?", (id,)).await;
        let sum: Result<Option<u64>, _> = open.query_first("SELECT SUM(balance) FROM accounts").await;
        match (own, sum) {
            (Ok(own), Ok(sum)) => {
                ensure!(own == Some(1), "its own transfer {id} is there {own:?} times");
                ensure!(sum == Some(ACCOUNTS * EACH), "money was made or lost: {sum:?}");
                known.reads += 1;
            }
            _ => connection = None,
        }
    }
    Ok(known)
}

fn at_replica(lab: &Lab) -> Result<u64> {
    Ok(routes(lab)?.get(&("replica".to_owned(), "read".to_owned())).copied().unwrap_or_default())
}

/// Kills servers and has them come back.
fn trouble(lab: &Lab) -> Result<()> {
    let both = || {
        poll::until("both servers are what they were", 2 * PATIENCE, || {
            let roles = roles(lab)?;
            ensure!(roles == [("db1", "primary"), ("db2", "replica")].map(super::owned), "{roles:?}");
            Ok(())
        })?;
        let before = at_replica(lab)?;
        poll::until("the replica is used again", PATIENCE, || {
            ensure!(at_replica(lab)? > before + 50, "it is not");
            Ok(())
        })
    };
    for _ in 0..2 {
        for db in ["db2", "db1"] {
            lab.kill_database(db, Signal::SIGKILL)?;
            lab.start_database(db)?;
            // It goes on by itself, or is told to.
            lab.database_query("db2", "START SLAVE").ok();
            both()?;
        }
        lab.kill_database("db2", Signal::SIGSTOP)?;
        poll::until("nobody hears of it", PATIENCE, || {
            ensure!(roles(lab)?.iter().any(|(db, role)| db == "db2" && role == "unfit"), "it is heard of");
            Ok(())
        })?;
        lab.kill_database("db2", Signal::SIGCONT)?;
        both()?;
    }
    Ok(())
}

#[test]
fn money_that_is_moved_while_servers_are_killed_is_moved_once_or_not_at_all() -> Result<()> {
    let lab = lab()?;
    lab.database_query(
        "db1",
        &format!(
            "USE notes; CREATE TABLE accounts (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL) ENGINE=InnoDB; \
             INSERT INTO accounts SELECT seq, {EACH} FROM seq_0_to_{}; \
             CREATE TABLE ledger (id BIGINT AUTO_INCREMENT PRIMARY KEY, transfer BIGINT NOT NULL, KEY (transfer)) ENGINE=InnoDB",
            ACCOUNTS - 1
        ),
    )?;
    lab.replicate()?;
    let is_over = AtomicBool::new(false);
    let web1 = lab.host("web1");
    let (knowns, troubled) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (is_over, web1) = (&is_over, &web1);
                scope.spawn(move || {
                    web1.inside(|| {
                        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                        runtime.block_on(client(number, is_over))
                    })?
                })
            })
            .collect();
        let troubled = trouble(&lab);
        is_over.store(true, Ordering::Relaxed);
        let knowns: Vec<Result<Known>> = clients
            .into_iter()
            .map(|client| client.join().unwrap_or_else(|_| bail!("a client panicked")))
            .collect();
        (knowns, troubled)
    });
    troubled?;
    let knowns: Vec<Known> = knowns.into_iter().collect::<Result<_>>()?;
    let written = lab.database_query("db1", "SELECT transfer FROM notes.ledger")?;
    let written: Vec<u64> = written.lines().map(str::parse).collect::<Result<_, _>>()?;
    let distinct: BTreeSet<u64> = written.iter().copied().collect();
    ensure!(distinct.len() == written.len(), "a transfer was made twice");
    let done: BTreeSet<u64> = knowns.iter().flat_map(|known| known.done.iter().copied()).collect();
    let lost: Vec<&u64> = done.difference(&distinct).collect();
    ensure!(lost.is_empty(), "transfers are lost of which a client was told that they are done: {lost:?}");
    let reads: u64 = knowns.iter().map(|known| known.reads).sum();
    let routes = routes(&lab)?;
    ensure!(done.len() > 200 && reads > 200, "{} done, {reads} reads: {routes:?}", done.len());
    lab.replicate()?;
    for db in ["db1", "db2"] {
        let sum = lab.database_query(db, "SELECT SUM(balance) FROM notes.accounts")?;
        ensure!(sum.trim() == (ACCOUNTS * EACH).to_string(), "{db}: {sum}");
    }
    let begun: u64 = knowns.iter().map(|known| known.begun).sum();
    println!("{begun} begun, {} done, {} written, {reads} reads", done.len(), written.len());
    let unknown = begun.checked_sub(done.len() as u64).context("more are done than were begun")?;
    ensure!(written.len() as u64 <= done.len() as u64 + unknown);
    lab.down()
}
