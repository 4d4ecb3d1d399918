//! `lbctl connection` and `lbctl log`: connections one by one, and what is told of them and all else.

use super::args::{ConnectionCommand, LogCommand};
use super::output::{Output, table};
use super::{CliError, Exit};
use crate::api::client::Client;
use crate::api::{ConnectionList, ConnectionView, LogPatch, LogView};
use crate::model::ByteCount;
use humantime::format_duration;
use hyper::Method;
use std::fmt::Write as _;
use std::time::Duration;

pub(super) async fn run(
    client: &Client,
    output: Output,
    command: ConnectionCommand,
) -> Result<Exit, CliError> {
    let ConnectionCommand::List(which) = command;
    let list: ConnectionList = client.get(&which.query("/connections", &[])).await?;
    output.print(&list, text)?;
    Ok(Exit::Success)
}

fn text(list: &ConnectionList) -> String {
    let headers =
        ["service", "client", "vip", "backend", ">open for", ">idle", ">bytes in", ">bytes out", ">rtt"];
    let mut text = table(&headers, list.connections.iter().map(row).collect());
    if list.truncated {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n… and more: raise --limit, or filter");
    }
    text
}

fn row(one: &ConnectionView) -> Vec<String> {
    let backend = one.backend_name.as_ref().map_or("-".into(), ToString::to_string);
    vec![
        one.service.as_ref().map_or("-".into(), ToString::to_string),
        one.client.to_string(),
        one.vip.to_string(),
        format!("{backend} ({})", one.backend),
        format_duration(Duration::from_secs(one.age_ms / 1000)).to_string(),
        format!("{:.1} s", one.idle_ms as f64 / 1000.0),
        ByteCount(one.up_bytes).to_string(),
        ByteCount(one.down_bytes).to_string(),
        format!("{:.1} ms", one.round_trip_us as f64 / 1000.0),
    ]
}

pub(super) async fn log(client: &Client, output: Output, command: LogCommand) -> Result<Exit, CliError> {
    let log: LogView = match command {
        LogCommand::Show => client.get("/log").await?,
        LogCommand::Level { level } => client.send(Method::PATCH, "/log", &LogPatch { level }).await?,
    };
    output.print(&log, |log| {
        let more = if log.level == log.configured {
            String::new()
        } else {
            format!(" (the configuration says {})", log.configured)
        };
        format!("level {}{more}, format {}", log.level, log.format)
    })?;
    Ok(Exit::Success)
}
