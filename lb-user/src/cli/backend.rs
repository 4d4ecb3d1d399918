//! Commands about backends.

use super::args::{BackendCommand, BackendPath, ChangeArgs, WaitArgs};
use super::config::report_text;
use super::output::{Output, table};
use super::{CliError, Exit};
use crate::api::client::{Client, ClientError};
use crate::api::{ApiError, ApplyReport, BackendPatch, BackendSpec, BackendView, ErrorKind, ServiceView};
use crate::model::{AdminState, ByteCount, ServiceName};
use hyper::Method;
use std::time::{Duration, Instant};

/// How often `--wait` looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A handshake that was under way when the backend stopped taking flows may still end in one.
const HANDSHAKES: Duration = Duration::from_millis(1500);

pub(super) async fn run(client: &Client, output: Output, command: BackendCommand) -> Result<Exit, CliError> {
    match command {
        BackendCommand::List { service } => {
            let backends = all(client, service.as_ref()).await?;
            output.print(&backends, |backends| list(backends))?;
            Ok(Exit::Success)
        }
        BackendCommand::Show(path) => {
            let backend: BackendView = client.get(&address(&path)).await?;
            output.print(&backend, show)?;
            Ok(Exit::Success)
        }
        BackendCommand::Add { path, addresses, weight, state, max_flows, change } => {
            let spec = BackendSpec { name: path.backend, address: addresses, weight, state, max_flows };
            let path = format!("/services/{}/backends?runtime_only={}", path.service, change.runtime_only);
            let report: ApplyReport = client.send(Method::POST, &path, &spec).await?;
            output.print(&report, report_text)?;
            Ok(Exit::Success)
        }
        BackendCommand::Del { path, force, change } => {
            let path = format!("{}?runtime_only={}&force={force}", address(&path), change.runtime_only);
            let report: ApplyReport = client.delete(&path).await?;
            output.print(&report, report_text)?;
            Ok(Exit::Success)
        }
        BackendCommand::Set { path, weight, state, max_flows, change } => {
            set(client, output, &path, BackendPatch { weight, state, max_flows }, change).await
        }
        BackendCommand::Ready { path, change } => {
            set(client, output, &path, to_state(AdminState::Ready), change).await
        }
        BackendCommand::Drain { path, wait, change } => {
            set(client, output, &path, to_state(AdminState::Drain), change).await?;
            wait_idle(client, output, &path, wait).await
        }
        BackendCommand::Maint { path, force, wait, change } => {
            let url = format!("{}?runtime_only={}&force={force}", address(&path), change.runtime_only);
            let report: ApplyReport = client.send(Method::PATCH, &url, &to_state(AdminState::Maint)).await?;
            output.print(&report, report_text)?;
            wait_idle(client, output, &path, wait).await
        }
    }
}

fn address(path: &BackendPath) -> String {
    format!("/services/{}/backends/{}", path.service, path.backend)
}

fn to_state(state: AdminState) -> BackendPatch {
    BackendPatch { state: Some(state), ..BackendPatch::default() }
}

async fn all(client: &Client, service: Option<&ServiceName>) -> Result<Vec<BackendView>, CliError> {
    let services: Vec<ServiceView> = match service {
        Some(service) => vec![client.get(&format!("/services/{service}")).await?],
        None => client.get("/services").await?,
    };
    Ok(services.into_iter().flat_map(|service| service.backends).collect())
}

async fn set(
    client: &Client,
    output: Output,
    path: &BackendPath,
    patch: BackendPatch,
    change: ChangeArgs,
) -> Result<Exit, CliError> {
    let url = format!("{}?runtime_only={}", address(path), change.runtime_only);
    let report: ApplyReport = client.send(Method::PATCH, &url, &patch).await?;
    output.print(&report, report_text)?;
    Ok(Exit::Success)
}

async fn wait_idle(
    client: &Client,
    output: Output,
    path: &BackendPath,
    wait: WaitArgs,
) -> Result<Exit, CliError> {
    if !wait.wait {
        return Ok(Exit::Success);
    }
    let begun = Instant::now();
    loop {
        let backend: BackendView = match client.get(&address(path)).await {
            // Somebody removed it meanwhile: nothing to wait for.
            Err(ClientError::Refused(ApiError { kind: ErrorKind::NotFound, .. })) => {
                return Ok(Exit::Success);
            }
            found => found?,
        };
        if is_idle(&backend, begun.elapsed()) {
            if !output.json {
                output.line("no flows left")?;
            }
            return Ok(Exit::Success);
        }
        if begun.elapsed() > wait.timeout {
            let after = humantime::format_duration(wait.timeout);
            let (name, flows) = (&path.backend, backend.active_flows);
            return Err(CliError::TimedOut(match flows {
                0 => format!("the flows of backend {name} were not counted anew within {after}"),
                _ => format!("backend {name} still has {flows} flows after {after}; they go on"),
            }));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether a backend has no flows, `waited` after it stopped taking them. A sweep that began before the change
/// knows nothing of flows that came meanwhile.
fn is_idle(backend: &BackendView, waited: Duration) -> bool {
    backend.active_flows == 0 && backend.active_flows_settled && waited >= HANDSHAKES
}

/// Backends as a table.
pub(super) fn list(backends: &[BackendView]) -> String {
    let rows = backends.iter().map(|backend| {
        let addresses: Vec<String> = backend.addresses.iter().map(|one| one.address.to_string()).collect();
        vec![
            backend.service.to_string(),
            backend.name.to_string(),
            addresses.join(", "),
            backend.weight.to_string(),
            backend.state.to_string(),
            backend.health.to_string(),
            backend.active_flows.to_string(),
            backend.flows_new.to_string(),
            ByteCount(backend.forward_bytes).to_string(),
            ByteCount(backend.reverse_bytes).to_string(),
        ]
    });
    let headers = [
        "service",
        "backend",
        "address",
        ">weight",
        "state",
        "health",
        ">flows",
        ">new flows",
        ">bytes in",
        ">bytes out",
    ];
    table(&headers, rows.collect())
}

/// A limit in words.
pub(super) fn at_most(max_flows: u32) -> String {
    if max_flows == 0 { "no limit".into() } else { format!("at most {max_flows}") }
}

fn show(backend: &BackendView) -> String {
    let addresses = backend.addresses.iter().map(|one| {
        vec![
            one.address.to_string(),
            one.health.to_string(),
            one.slots.to_string(),
            one.last_check.clone().unwrap_or_else(|| "not checked".into()),
        ]
    });
    format!(
        "backend {} of service {}\nweight {}, state {}, health {}\n\
         flows: {} active, {}, {} new, {} established, {} refused, {} over its limit\n\
         to it: {} packets, {}; from it: {} packets, {}\n\n{}",
        backend.name,
        backend.service,
        backend.weight,
        backend.state,
        backend.health,
        backend.active_flows,
        at_most(backend.max_flows),
        backend.flows_new,
        backend.flows_established,
        backend.flows_refused,
        backend.flows_over_limit,
        backend.forward_packets,
        ByteCount(backend.forward_bytes),
        backend.reverse_packets,
        ByteCount(backend.reverse_bytes),
        table(&["address", "health", ">slots", "last check"], addresses.collect())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(active_flows: u64, settled: bool) -> BackendView {
        let text = format!(
            r#"{{"service": "web", "name": "web1", "weight": 1, "state": "drain", "health": "up", "addresses": [],
                "active_flows": {active_flows}, "active_flows_settled": {settled}, "flows_new": 0,
                "flows_established": 0, "flows_refused": 0, "forward_packets": 0, "forward_bytes": 0,
                "reverse_packets": 0, "reverse_bytes": 0}}"#
        );
        serde_json::from_str(&text).expect("a backend")
    }

    #[test]
    fn waiting_ends_with_a_count_of_zero_that_began_after_the_change() {
        let minute = Duration::from_secs(60);
        assert!(is_idle(&backend(0, true), minute));
        assert!(!is_idle(&backend(1, true), minute));
        assert!(!is_idle(&backend(0, false), minute), "a slow sweep from before the change says nothing");
        assert!(!is_idle(&backend(0, true), HANDSHAKES / 2), "a handshake may still end in a flow");
    }
}
