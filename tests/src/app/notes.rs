//! The notes in the database: reading, writing, and what to do while it cannot be reached.
//!
//! Only getting a connection is tried again, and a kept one is asked whether it still works before it is
//! used. A query is not repeated: a write may have arrived.

use std::time::Duration;

use anyhow::Context;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, Opts, OptsBuilder, Params, Pool, PoolConstraints, PoolOpts, Row};
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};

/// How long a request waits for the database before it is refused.
const PATIENCE: Duration = Duration::from_secs(3);
const CONNECTION_PATIENCE: Duration = Duration::from_secs(1);
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
const LONGEST_TEXT: usize = 1000;

/// One note.
#[derive(Debug, Serialize)]
pub(crate) struct Note {
    id: u64,
    text: String,
    written_by: String,
}

/// Why a request about notes failed.
#[derive(Debug)]
pub(crate) enum NotesError {
    /// The caller's mistake.
    Text(&'static str),
    /// No connection to be had.
    Unreachable(String),
    /// A connection, but no answer in time.
    Late,
    /// The database refused.
    Database(mysql_async::Error),
}

impl std::fmt::Display for NotesError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NotesError::Text(why) => formatter.write_str(why),
            NotesError::Unreachable(why) => write!(formatter, "the database cannot be reached: {why}"),
            NotesError::Late => {
                write!(formatter, "the database did not answer within {} s", PATIENCE.as_secs())
            }
            NotesError::Database(error) => write!(formatter, "the database refused: {error}"),
        }
    }
}

impl std::error::Error for NotesError {}

/// All notes.
pub(crate) struct Notes {
    pool: Pool,
    server_name: String,
}

impl Notes {
    /// Connects to nothing yet.
    pub(crate) fn new(url: &str, server_name: String) -> anyhow::Result<Notes> {
        let options = Opts::from_url(url)
            .context("the database address is not mysql://USER:PASSWORD@HOST:PORT/DATABASE")?;
        let constraints = PoolConstraints::new(4, 32).context("pool size")?;
        let pool = PoolOpts::default().with_constraints(constraints);
        // The client library would else ask the server for its Unix socket and, in the lab where all hosts
        // share their files, use that from then on: past the network and the load balancer.
        let options = OptsBuilder::from_opts(options).pool_opts(pool).tcp_nodelay(true).prefer_socket(false);
        Ok(Notes { pool: Pool::new(options), server_name })
    }

    /// This server's name.
    pub(crate) fn server_name(&self) -> &str {
        &self.server_name
    }

    /// The newest notes, newest first.
    pub(crate) async fn newest(&self) -> Result<Vec<Note>, NotesError> {
        let mut connection = self.connection().await?;
        let query = "SELECT id, text, written_by FROM notes ORDER BY id DESC LIMIT 100";
        let rows: Vec<Row> = in_time(connection.exec(query, Params::Empty)).await?;
        rows.into_iter().map(note).collect()
    }

    /// Writes a note.
    pub(crate) async fn add(&self, text: &str) -> Result<Note, NotesError> {
        if text.is_empty() {
            return Err(NotesError::Text("a note needs some text"));
        }
        if text.chars().count() > LONGEST_TEXT {
            return Err(NotesError::Text("a note has at most 1000 characters"));
        }
        let mut connection = self.connection().await?;
        let insert = "INSERT INTO notes (text, written_by) VALUES (?, ?)";
        let values = (text, self.server_name.as_str());
        in_time(connection.exec_drop(insert, values)).await?;
        let id = connection.last_insert_id().unwrap_or_default();
        Ok(Note { id, text: text.to_owned(), written_by: self.server_name.clone() })
    }

    /// A connection; tried again while the database is away, for as long as a request may take.
    async fn connection(&self) -> Result<Conn, NotesError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let reason = match timeout(CONNECTION_PATIENCE, self.working_connection()).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            if Instant::now() >= deadline {
                return Err(NotesError::Unreachable(reason));
            }
            sleep(RETRY_INTERVAL).await; // poll: the database may be starting
        }
    }

    async fn working_connection(&self) -> Result<Conn, mysql_async::Error> {
        let mut connection = self.pool.get_conn().await?;
        connection.ping().await?;
        Ok(connection)
    }
}

fn note(row: Row) -> Result<Note, NotesError> {
    match mysql_async::from_row_opt(row) {
        Ok((id, text, written_by)) => Ok(Note { id, text, written_by }),
        Err(error) => Err(NotesError::Database(DriverError::FromRow { row: error.0 }.into())),
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, mysql_async::Error>>) -> Result<T, NotesError> {
    match timeout(PATIENCE, work).await {
        Ok(done) => done.map_err(NotesError::Database),
        Err(_) => Err(NotesError::Late),
    }
}
