//! `lbctl upgrade`: a newer program takes the running agent's place.

use super::output::Output;
use super::{CliError, Exit};
use crate::api::client::{Client, ClientError};
use crate::api::{ApiError, ErrorKind, Status, UpgradeRequest, UpgradeStarted};
use hyper::Method;
use std::time::{Duration, Instant};

/// How long the new agent may take to answer: its program is verified by the kernel first.
const PATIENCE: Duration = Duration::from_secs(90);
const ASK_EVERY: Duration = Duration::from_millis(100);

pub(super) async fn run(client: &Client, output: Output, drain: Duration) -> Result<Exit, CliError> {
    let request = UpgradeRequest { drain_seconds: Some(drain.as_secs()) };
    let started: UpgradeStarted = client.send(Method::POST, "/upgrade", &request).await?;
    let begun = Instant::now();
    loop {
        // While one agent goes and the other one comes, nobody answers.
        let status: Result<Status, ClientError> = client.get("/status").await;
        match status {
            Ok(status) if status.pid == started.pid => break,
            // Since it has said that it begins, the old one answers only if it goes on.
            Ok(status) => {
                let message = format!(
                    "no upgrade: the agent is the old one still (pid {}); `lbctl events` says why",
                    status.pid
                );
                return Err(ClientError::Refused(ApiError::new(ErrorKind::Conflict, message)).into());
            }
            Err(_) if begun.elapsed() < PATIENCE => tokio::time::sleep(ASK_EVERY).await,
            Err(error) => return Err(error.into()),
        }
    }
    output.print(&started, |started| {
        let UpgradeStarted { pid, connections, .. } = started;
        let drain = humantime::format_duration(drain);
        format!(
            "agent {pid} has taken over; the old one serves its {connections} connections for {drain} at most"
        )
    })?;
    Ok(Exit::Success)
}
