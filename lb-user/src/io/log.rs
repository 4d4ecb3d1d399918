//! The agent's log: where it goes, in which form, and how much of it is told.
//!
//! Owns the process's one subscriber, and the thread that writes; the control that is handed out changes what it tells while the agent runs. Never decides what is worth
//! telling.

mod journal;

use crate::model::{LogFilter, LogFormat};
use journal::JournalWriter;
use std::io::{IsTerminal, Write};
use std::os::linux::fs::MetadataExt as _;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::{Layer, Layered, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

/// The variable that goes before the configuration's level, until that is changed.
pub const VARIABLE: &str = "LBCTL_LOG";

/// Changes what is told.
#[derive(Debug)]
pub struct LogControl {
    filter: LogFilter,
    format: LogFormat,
    handle: reload::Handle<EnvFilter, Registry>,
}

/// Whoever reads the log may be slow, and a connection must not wait for that: so many lines wait, and more are lost.
const LINES_WAITING: usize = 8192;

/// The thread that writes the log: what waits is written when this is dropped.
pub struct LogWritten(#[expect(dead_code, reason = "it is held")] WorkerGuard);

/// The log could not be begun, or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The variable says nothing of the log.
    #[error("{VARIABLE}: {0}")]
    Variable(crate::model::ModelError),
    /// The journal was asked for, and is not there.
    #[error("log.format: systemd's journal does not listen here ({0}); expected auto, text or json")]
    NoJournal(std::io::Error),
    /// Somebody began one already, or the filter is not understood after all.
    #[error("the log: {0}")]
    Other(String),
}

impl LogControl {
    /// Begins the log of this process: at the level that the environment names, or else at this one.
    ///
    /// # Errors
    /// See [`LogError`].
    pub fn start(level: &LogFilter, format: LogFormat) -> Result<(Self, LogWritten), LogError> {
        let filter = match std::env::var(VARIABLE) {
            Ok(text) if !text.is_empty() => text.parse().map_err(LogError::Variable)?,
            _ => level.clone(),
        };
        let (layer, handle) = reload::Layer::new(env_filter(&filter)?);
        let (format, writer) = written(format)?;
        let (writer, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(LINES_WAITING)
            .thread_name("log")
            .finish(writer);
        let output = output(format, writer);
        let other = |error: tracing_subscriber::util::TryInitError| LogError::Other(error.to_string());
        tracing_subscriber::registry().with(layer).with(output).try_init().map_err(other)?;
        Ok((Self { filter, format, handle }, LogWritten(guard)))
    }

    /// Tells this from now on.
    ///
    /// # Errors
    /// It is not understood.
    pub fn set(&mut self, filter: &LogFilter) -> Result<(), LogError> {
        let wanted = env_filter(filter)?;
        self.handle.reload(wanted).map_err(|error| LogError::Other(error.to_string()))?;
        self.filter = filter.clone();
        Ok(())
    }

    /// What is told now.
    pub fn filter(&self) -> &LogFilter {
        &self.filter
    }

    /// In which form; never `auto`.
    pub fn format(&self) -> LogFormat {
        self.format
    }
}

fn env_filter(filter: &LogFilter) -> Result<EnvFilter, LogError> {
    EnvFilter::try_new(filter.as_str()).map_err(|error| LogError::Other(error.to_string()))
}

/// What the process's registry is once it has the filter.
type Filtered = Layered<reload::Layer<EnvFilter, Registry>, Registry>;
type Output = Box<dyn Layer<Filtered> + Send + Sync>;

/// What writes that form, and the form that `auto` comes to be.
fn written(format: LogFormat) -> Result<(LogFormat, Box<dyn Write + Send>), LogError> {
    let journal = || JournalWriter::open().map_err(LogError::NoJournal);
    let format = match format {
        LogFormat::Auto if std::io::stderr().is_terminal() => LogFormat::Text,
        // Where the journal does not take entries after all, lines of JSON reach it as well.
        LogFormat::Auto if is_journal() => match journal() {
            Ok(journal) => return Ok((LogFormat::Journald, Box::new(journal))),
            Err(_) => LogFormat::Json,
        },
        LogFormat::Auto => LogFormat::Json,
        LogFormat::Journald => return Ok((format, Box::new(journal()?))),
        LogFormat::Text | LogFormat::Json => format,
    };
    Ok((format, Box::new(std::io::stderr())))
}

fn output(format: LogFormat, writer: NonBlocking) -> Output {
    if format == LogFormat::Text {
        let ansi = std::io::stderr().is_terminal();
        return fmt::layer().with_target(false).with_ansi(ansi).with_writer(writer).boxed();
    }
    fmt::layer().json().flatten_event(true).with_writer(writer).boxed()
}

/// Whether standard error is the journal's: it says so by the socket's numbers (systemd.exec(5), `$JOURNAL_STREAM`).
pub fn is_journal() -> bool {
    let Ok(numbers) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(found) = std::fs::metadata("/proc/self/fd/2") else { return false };
    numbers == format!("{}:{}", found.st_dev(), found.st_ino())
}
