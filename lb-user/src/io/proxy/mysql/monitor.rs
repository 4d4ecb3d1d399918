//! Asks a backend what it is: whether it takes writes, whether it replicates, and which transactions it has.
//!
//! Owns the questions. When they are asked, and what follows from the answers, others decide.

use super::super::terms::Terms;
use super::link::{ANSWERED_WITHIN, Link, LinkError, UTF8MB4_GENERAL_CI, Who};
use crate::core::mysql::protocol::auth::Password;
use crate::core::mysql::protocol::capabilities::{Capabilities, Flavor};
use crate::core::mysql::protocol::gtid::GtidPosition;
use crate::core::mysql::protocol::handshake::InitialHandshake;
use crate::core::mysql::protocol::response::TextRow;
use crate::core::mysql::topology::{Observation, Replication};
use std::net::SocketAddr;
use tokio::time::timeout;

/// Who asks whom.
#[derive(Clone, PartialEq)]
pub struct Asked {
    /// The backend.
    pub address: SocketAddr,
    /// As this user,
    pub user: String,
    /// with this password,
    pub password: Password,
    /// in this manner.
    pub terms: Terms,
}

/// What a backend says.
#[derive(Clone, Debug)]
pub struct Found {
    /// Of itself.
    pub observation: Observation,
    /// What it says first to everybody.
    pub greeting: InitialHandshake,
}

/// A connection that is kept from one look to the next.
#[derive(Default)]
pub struct Kept(Option<Link>);

/// Looks at a backend.
///
/// # Errors
/// It cannot be asked: why.
pub async fn look(asked: &Asked, kept: &mut Kept) -> Result<Found, LinkError> {
    let looking = async {
        let mut link = match kept.0.take() {
            Some(link) => link,
            None => open(asked).await?,
        };
        let observation = observe(&mut link).await?;
        let greeting = link.greeting.clone();
        kept.0 = Some(link);
        Ok(Found { observation, greeting })
    };
    let limit = ANSWERED_WITHIN.max(asked.terms.connect);
    timeout(limit, looking).await.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
}

pub(super) async fn open(asked: &Asked) -> Result<Link, LinkError> {
    let who = Who {
        user: &asked.user,
        password: &asked.password,
        schema: None,
        capabilities: Capabilities::PROTOCOL_41 | Capabilities::MYSQL,
        collation: UTF8MB4_GENERAL_CI,
        attributes: None,
    };
    let mut link = Link::open(asked.address, (asked.address, asked.address), &asked.terms, &who).await?;
    // Whoever is asked every moment need not keep a log of it.
    link.tell(b"SET SESSION sql_mode = ''").await?;
    Ok(link)
}

async fn observe(link: &mut Link) -> Result<Observation, LinkError> {
    let flavor = link.flavor;
    let (state, replication): (&[u8], &[u8]) = match flavor {
        Flavor::MySql => (
            b"SELECT @@global.read_only AS read_only, @@global.gtid_executed AS position",
            b"SHOW REPLICA STATUS",
        ),
        Flavor::MariaDb => (
            b"SELECT @@global.read_only AS read_only, @@global.gtid_current_pos AS position",
            b"SHOW ALL SLAVES STATUS",
        ),
    };
    let state = link.tell(state).await?;
    let row = state.first().map_or(&[][..], |row| row);
    let is_read_only = !matches!(text(row, &["read_only"]).as_str(), "0" | "OFF");
    let position = text(row, &["position"]);
    let position = GtidPosition::parse(flavor, position.replace('\n', "").as_bytes())
        .unwrap_or_else(|_| GtidPosition::empty(flavor));
    let rows = link.tell(replication).await?;
    Ok(Observation { is_read_only, replication: rows.first().map(replicates), position })
}

fn replicates(row: &TextRow) -> Replication {
    let is_yes = |names: &[&str]| text(row, names) == "Yes";
    let errors = [text(row, &["Last_IO_Error"]), text(row, &["Last_SQL_Error"])];
    Replication {
        is_running: is_yes(&["Replica_IO_Running", "Slave_IO_Running"])
            && is_yes(&["Replica_SQL_Running", "Slave_SQL_Running"]),
        source: format!(
            "{}:{}",
            text(row, &["Source_Host", "Master_Host"]),
            text(row, &["Source_Port", "Master_Port"])
        ),
        error: errors.into_iter().find(|error| !error.is_empty()).unwrap_or_default(),
    }
}

/// The value of the first column that there is of these.
fn text(row: &[(String, Option<Vec<u8>>)], names: &[&str]) -> String {
    let found = row.iter().find(|(name, _)| names.contains(&name.as_str()));
    let value = found.and_then(|(_, value)| value.as_deref()).unwrap_or_default();
    String::from_utf8_lossy(value).into_owned()
}
