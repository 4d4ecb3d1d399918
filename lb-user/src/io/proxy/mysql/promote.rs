//! A replica takes the primary's place: what servers are told, in their order.
//!
//! Owns the order, and what is taken back where it cannot go on. Whether it may be, [`crate::core::mysql::promotion`] has said. Two servers never
//! take writes at a time: the old one stops before the new one begins.

use super::link::{ANSWERED_WITHIN, Link, LinkError};
use super::monitor::{Asked, open};
use super::replica::{first_value, position_question, wait_for};
use crate::core::mysql::protocol::auth::Password;
use crate::core::mysql::protocol::capabilities::Flavor;
use crate::core::mysql::protocol::response::TextRow;
use std::net::SocketAddr;
use std::time::Duration;

/// Who does what.
pub struct Promoting {
    /// It takes writes from then on.
    pub chosen: Asked,
    /// It takes none from then on; `None`: it is down.
    pub old: Option<Asked>,
    /// They replicate from the chosen one from then on.
    pub others: Vec<Asked>,
    /// As whom the old one does so; `None`: it replicates from nobody.
    pub replication: Option<(String, Password)>,
    /// How long the chosen one may take to get what it lacks.
    pub within: Duration,
}

/// Why it came to nothing; everything is as it was, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum PromoteError {
    /// A server did not do what it was told.
    #[error("{0}: {1}")]
    Server(SocketAddr, LinkError),
    /// The chosen one has not got everything in time.
    #[error("it has not got everything that was written within {}; nothing was changed", humantime::format_duration(*.0))]
    NotInTime(Duration),
    /// The old one is read only now and does not go back.
    #[error("{0}; and {1} stays read only: {2}")]
    Stuck(Box<PromoteError>, SocketAddr, LinkError),
}

/// Carries it out; what the operator has to do himself is told.
///
/// # Errors
/// The chosen one does not take writes.
pub async fn promote(promoting: Promoting) -> Result<Vec<String>, PromoteError> {
    let mut chosen = reach(&promoting.chosen).await?;
    // It is so already; whoever may not say it finds out before anything is changed.
    tell(&mut chosen, promoting.chosen.address, "SET GLOBAL read_only = 1", promoting.within).await?;
    let mut old = match &promoting.old {
        Some(asked) => Some((asked.address, reach(asked).await?)),
        None => None,
    };
    if let (Some((_, link)), Some(asked)) = (&mut old, &promoting.old) {
        fence(link, asked, promoting.within).await?;
    }
    let taken = take_over(&promoting, &mut chosen, &mut old).await;
    if let Err(error) = taken {
        // It goes on to replicate, if it still knows from whom.
        let start: &[u8] = match chosen.flavor {
            Flavor::MySql => b"START REPLICA",
            Flavor::MariaDb => b"START SLAVE",
        };
        let _ = chosen.tell(start).await;
        return Err(match &mut old {
            None => error,
            Some((address, link)) => match link.tell(b"SET GLOBAL read_only = 0").await {
                Ok(_) => error,
                Err(why) => PromoteError::Stuck(Box::new(error), *address, why),
            },
        });
    }
    Ok(follow(&promoting, old).await)
}

async fn reach(asked: &Asked) -> Result<Link, PromoteError> {
    open(asked).await.map_err(|error| PromoteError::Server(asked.address, error))
}

async fn tell(
    link: &mut Link,
    address: SocketAddr,
    sql: &str,
    within: Duration,
) -> Result<Vec<TextRow>, PromoteError> {
    let answered = link.tell_all(&[sql.as_bytes()], within.max(ANSWERED_WITHIN)).await;
    Ok(answered.map_err(|error| PromoteError::Server(address, error))?.pop().unwrap_or_default())
}

/// The old one stops to take writes: it waits for those that are under way, and for locks, no longer than it may.
async fn fence(link: &mut Link, asked: &Asked, within: Duration) -> Result<(), PromoteError> {
    let seconds = within.as_secs().max(1);
    let limit = format!("SET SESSION lock_wait_timeout = {seconds}");
    tell(link, asked.address, &limit, within).await?;
    let patience = within.saturating_add(ANSWERED_WITHIN);
    let fenced = tell(link, asked.address, "SET GLOBAL read_only = 1", patience).await;
    let Err(error) = fenced else { return Ok(()) };
    // It may still be at it.
    let thread = link.thread;
    let undone = async {
        let mut again = open(asked).await?;
        let _ = again.tell(format!("KILL {thread}").as_bytes()).await;
        again.tell(b"SET GLOBAL read_only = 0").await
    };
    Err(match undone.await {
        Ok(_) => error,
        Err(why) => PromoteError::Stuck(Box::new(error), asked.address, why),
    })
}

/// The chosen one gets everything, and takes writes.
async fn take_over(
    promoting: &Promoting,
    chosen: &mut Link,
    old: &mut Option<(SocketAddr, Link)>,
) -> Result<(), PromoteError> {
    let address = promoting.chosen.address;
    let is_mysql = chosen.flavor == Flavor::MySql;
    let position = match old {
        // All that it has written; nothing comes after it.
        Some((address, link)) => {
            let question = position_question(link.flavor);
            first_value(tell(link, *address, question, promoting.within).await?)
        }
        // All that it has heard.
        None => {
            let (stop, status, column) = match is_mysql {
                true => ("STOP REPLICA IO_THREAD", "SHOW REPLICA STATUS", "Retrieved_Gtid_Set"),
                false => ("STOP SLAVE IO_THREAD", "SHOW SLAVE STATUS", "Gtid_IO_Pos"),
            };
            tell(chosen, address, stop, promoting.within).await?;
            let rows = tell(chosen, address, status, promoting.within).await?;
            let row = rows.into_iter().next().unwrap_or_default();
            row.into_iter().find(|(name, _)| name == column).and_then(|(_, value)| value)
        }
    };
    let position = position.map(|text| String::from_utf8_lossy(&text).replace('\n', "")).unwrap_or_default();
    let reached = wait_for(chosen, &position, promoting.within).await;
    let has_it = reached.map_err(|error| PromoteError::Server(address, error))?;
    if !position.is_empty() && !has_it {
        return Err(PromoteError::NotInTime(promoting.within));
    }
    let steps: [&str; 3] = match is_mysql {
        true => ["STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL read_only = 0"],
        false => ["STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only = 0"],
    };
    for step in steps {
        tell(chosen, address, step, promoting.within).await?;
    }
    Ok(())
}

/// The others replicate from the chosen one; who does not is told of.
async fn follow(promoting: &Promoting, old: Option<(SocketAddr, Link)>) -> Vec<String> {
    let source = promoting.chosen.address;
    let mut left = Vec::new();
    for other in &promoting.others {
        if let Err(error) = point(other, source, promoting.within).await {
            left.push(format!("{} does not replicate from {source}: {error}", other.address));
        }
    }
    match (old, &promoting.replication) {
        (None, _) => {}
        (Some((address, _)), None) => left.push(format!(
            "{address} is read only and replicates from nobody: no [service.NAME.mysql.replication] says as whom"
        )),
        (Some((address, link)), Some((user, password))) => {
            if let Err(error) = turn(link, address, source, (user, password), promoting.within).await {
                left.push(format!("{address} is read only, and does not replicate from {source}: {error}"));
            }
        }
    }
    left
}

/// A replica hears another source.
async fn point(other: &Asked, source: SocketAddr, within: Duration) -> Result<(), PromoteError> {
    let mut link = reach(other).await?;
    let (ip, port) = (source.ip(), source.port());
    let steps = match link.flavor {
        Flavor::MySql => [
            "STOP REPLICA".to_owned(),
            format!("CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{ip}', SOURCE_PORT = {port}"),
            "START REPLICA".to_owned(),
        ],
        Flavor::MariaDb => [
            "STOP SLAVE".to_owned(),
            format!(
                "CHANGE MASTER TO MASTER_HOST = '{ip}', MASTER_PORT = {port}, MASTER_USE_GTID = slave_pos"
            ),
            "START SLAVE".to_owned(),
        ],
    };
    for step in &steps {
        tell(&mut link, other.address, step, within).await?;
    }
    Ok(())
}

/// Who was the primary replicates.
async fn turn(
    mut link: Link,
    address: SocketAddr,
    source: SocketAddr,
    (user, password): (&str, &Password),
    within: Duration,
) -> Result<(), PromoteError> {
    let (ip, port) = (source.ip(), source.port());
    // This connection has no `sql_mode`: a backslash escapes.
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "''");
    let (user, password) = (quoted(user), quoted(&String::from_utf8_lossy(&password.0)));
    let steps = match link.flavor {
        Flavor::MySql => vec![
            format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{ip}', SOURCE_PORT = {port}, SOURCE_USER = '{user}', \
                 SOURCE_PASSWORD = '{password}', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1"
            ),
            "START REPLICA".to_owned(),
        ],
        Flavor::MariaDb => vec![
            // Where it goes on from is what it has written itself.
            "SET GLOBAL gtid_slave_pos = @@global.gtid_current_pos".to_owned(),
            format!(
                "CHANGE MASTER TO MASTER_HOST = '{ip}', MASTER_PORT = {port}, MASTER_USER = '{user}', \
                 MASTER_PASSWORD = '{password}', MASTER_USE_GTID = slave_pos"
            ),
            "START SLAVE".to_owned(),
        ],
    };
    for step in &steps {
        tell(&mut link, address, step, within).await?;
    }
    Ok(())
}
