//! Commands about the configuration as a whole.

use super::output::Output;
use super::{CliError, Exit};
use crate::api::client::Client;
use crate::api::{ApplyReport, ApplyRequest};
use hyper::Method;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

pub(super) async fn diff(client: &Client, output: Output, file: Option<PathBuf>) -> Result<Exit, CliError> {
    apply(client, output, file, true, None).await
}

pub(super) async fn apply(
    client: &Client,
    output: Output,
    file: Option<PathBuf>,
    dry_run: bool,
    confirm_within: Option<Duration>,
) -> Result<Exit, CliError> {
    let confirm_within_seconds = confirm_within.map(|within| within.as_secs());
    let mut request = ApplyRequest { dry_run, confirm_within_seconds, ..ApplyRequest::default() };
    if let Some(file) = file {
        let path = file.display().to_string();
        let text =
            std::fs::read_to_string(&file).map_err(|cause| CliError::File { path: path.clone(), cause })?;
        request.text = Some(text);
        request.file_name = Some(path);
    }
    let report: ApplyReport = client.send(Method::POST, "/config", &request).await?;
    output.print(&report, report_text)?;
    Ok(if dry_run && !report.changes.is_empty() { Exit::Changes } else { Exit::Success })
}

/// What a change did, for people.
pub(super) fn report_text(report: &ApplyReport) -> String {
    let mut text = String::new();
    if report.changes.is_empty() {
        text.push_str("nothing to change\n");
    }
    for change in &report.changes {
        let restart =
            if report.need_restart.contains(change) { "  (needs a restart of the agent)" } else { "" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{change}{restart}");
    }
    // Where a part of a change waits, it has words of its own.
    for change in report.need_restart.iter().filter(|change| !report.changes.contains(change)) {
        let _ = writeln!(text, "waits for a restart of the agent: {change}");
    }
    if let Some(seconds) = report.confirm_within_seconds.filter(|_| report.applied) {
        let _ = writeln!(
            text,
            "applied; taken back in {seconds} s unless `lbctl confirm` comes, and saved with it"
        );
        return text;
    }
    match (report.applied, report.saved) {
        (true, false) if !report.changes.is_empty() => text.push_str("applied\n"),
        (true, true) => text.push_str("applied and saved\n"),
        _ => {}
    }
    text
}
