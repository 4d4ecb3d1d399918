//! Commands that only look.

use super::args::FlowCommand;
use super::output::{Output, table};
use super::{CliError, Exit};
use crate::api::client::Client;
use crate::api::{CheckView, ConfinementView, CountersView, Event, FlowList, Status};
use crate::model::ByteCount;
use humantime::{format_duration, format_rfc3339_millis};
use hyper::Method;
use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

pub(super) async fn status(client: &Client, output: Output) -> Result<Exit, CliError> {
    let status: Status = client.get("/status").await?;
    output.print(&status, status_text)?;
    Ok(Exit::Success)
}

fn status_text(status: &Status) -> String {
    let mut text = String::new();
    let uptime = format_duration(Duration::from_secs(status.uptime_seconds));
    // Writing to a String cannot fail.
    let _ = writeln!(text, "node {}  lbctl {}  pid {}  up {uptime}", status.node, status.version, status.pid);
    let more = if status.runtime_changes { "  (the running agent has changes the file has not)" } else { "" };
    let _ = writeln!(text, "configuration {}{more}", status.config_file);
    let _ = writeln!(text, "{}", confinement(&status.confinement));
    for interface in &status.interfaces {
        let _ = writeln!(text, "interface {}  XDP {}", interface.name, interface.xdp_mode);
    }
    let _ =
        writeln!(text, "services {}  without a backend {}", status.services, status.services_without_backend);
    let vips = status.vips.iter().map(|vip| {
        let addresses: Vec<String> = vip.addresses.iter().map(ToString::to_string).collect();
        let elsewhere = if vip.vrrp { "not here (VRRP)" } else { vip.active_on.as_str() };
        let here = if vip.active_here { "here" } else { elsewhere };
        vec![vip.name.to_string(), addresses.join(", "), vip.interface.clone(), here.to_owned()]
    });
    let _ = writeln!(text, "\n{}", table(&["vip", "addresses", "interface", "active"], vips.collect()));
    let tables = status.tables.iter().map(|found| {
        let number = |number: Option<u64>| number.map_or("-".into(), |number| number.to_string());
        let percent = found.entries.and_then(|entries| (entries * 100).checked_div(found.capacity));
        vec![
            found.name.clone(),
            number(found.entries),
            number(Some(found.capacity).filter(|capacity| *capacity > 0)),
            percent.map_or("-".into(), |percent| format!("{percent} %")),
            ByteCount(found.bytes).to_string(),
        ]
    });
    let _ = writeln!(
        text,
        "\n{}",
        table(&["table", ">entries", ">capacity", ">used", ">memory"], tables.collect())
    );
    for warning in &status.warnings {
        let _ = writeln!(text, "\nwarning: {warning}");
    }
    text
}

/// What the agent may do.
fn confinement(view: &ConfinementView) -> String {
    if !view.confined {
        return format!("runs as {}, with all rights it was started with (agent.confine)", view.user);
    }
    let rights: Vec<String> =
        view.capabilities.iter().map(|name| name.trim_start_matches("CAP_").to_ascii_lowercase()).collect();
    let files = match view.files.as_str() {
        "all" => "writes only where it has to",
        "partly" => "writes only where it has to, as far as this kernel can see to it",
        _ => "no Landlock in this kernel",
    };
    format!("runs as {} with {}; {files}", view.user, rights.join(", "))
}

pub(super) async fn counters(client: &Client, output: Output, all: bool) -> Result<Exit, CliError> {
    let counters: CountersView = client.get("/counters").await?;
    output.print(&counters, |counters| {
        let lists = [&counters.outcomes, &counters.occurrences];
        let rows = |list: &Vec<crate::api::CounterView>| {
            let shown = list.iter().filter(|counter| all || counter.count > 0);
            let row = |counter: &crate::api::CounterView| {
                vec![counter.name.clone(), counter.count.to_string(), counter.description.clone()]
            };
            shown.map(row).collect::<Vec<_>>()
        };
        format!(
            "{}\n\n{}",
            table(&["outcome", ">packets", "what it is"], rows(lists[0])),
            table(&["occurrence", ">times", "what it is"], rows(lists[1]))
        )
    })?;
    Ok(Exit::Success)
}

pub(super) async fn health(client: &Client, output: Output) -> Result<Exit, CliError> {
    let checks: Vec<CheckView> = client.get("/health").await?;
    output.print(&checks, |checks| {
        let rows = checks.iter().map(|check| {
            vec![
                check.service.to_string(),
                check.backend.to_string(),
                check.address.to_string(),
                check.state.to_string(),
                check.health.to_string(),
                check.last_check_us.map_or("-".into(), |us| format!("{:.1} ms", us as f64 / 1000.0)),
                check.last_check.clone().unwrap_or_else(|| "not checked".into()),
            ]
        });
        let headers = ["service", "backend", "address", "state", "health", ">took", "last check"];
        table(&headers, rows.collect())
    })?;
    Ok(Exit::Success)
}

pub(super) async fn flows(client: &Client, output: Output, command: FlowCommand) -> Result<Exit, CliError> {
    let FlowCommand::List { which, protocol, state } = command;
    let more = [
        ("protocol", protocol.map(|protocol| protocol.to_string())),
        ("state", state.map(|state| state.to_string())),
    ];
    let list: FlowList = client.get(&which.query("/flows", &more)).await?;
    output.print(&list, |list| {
        let rows = list.flows.iter().map(|flow| {
            let backend = flow.backend_name.as_ref().map_or("-".into(), ToString::to_string);
            vec![
                flow.service.as_ref().map_or("-".into(), ToString::to_string),
                flow.client.to_string(),
                format!("{}/{}", flow.vip, flow.protocol),
                if flow.nat == flow.client { "-".into() } else { flow.nat.port().to_string() },
                format!("{backend} ({})", flow.backend),
                flow.state.clone(),
                format!("{:.1} s", flow.idle_ms as f64 / 1000.0),
                flow.forward_packets.to_string(),
                ByteCount(flow.forward_bytes).to_string(),
            ]
        });
        let headers = [
            "service",
            "client",
            "vip",
            ">nat port",
            "backend",
            "state",
            ">idle",
            ">packets in",
            ">bytes in",
        ];
        let mut text = table(&headers, rows.collect());
        if list.truncated {
            let _ = write!(text, "\n… and more: raise --limit, or filter");
        }
        text
    })?;
    Ok(Exit::Success)
}

pub(super) async fn events(client: &Client, output: Output, follow: bool) -> Result<Exit, CliError> {
    let mut failure = None;
    let each = |line: &str| {
        let text = match serde_json::from_str::<Event>(line) {
            Ok(event) if !output.json => event_text(&event),
            _ => line.to_owned(),
        };
        if let Err(error) = output.line(&text) {
            failure = Some(error);
        }
        failure.is_none()
    };
    let path = if follow { "/events?follow=true" } else { "/events" };
    client.lines::<()>(Method::GET, path, None, each).await?;
    match failure {
        Some(error) => Err(error.into()),
        None => Ok(Exit::Success),
    }
}

fn event_text(event: &Event) -> String {
    let at = UNIX_EPOCH + Duration::from_millis(event.at_unix_ms);
    let kind = serde_json::to_value(event.kind).ok();
    let kind = kind.as_ref().and_then(|kind| kind.as_str()).unwrap_or("event");
    format!("{}  {kind:<15} {}", format_rfc3339_millis(at), event.message)
}
