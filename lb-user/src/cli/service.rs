//! Commands about services.

use super::args::ServiceCommand;
use super::config::report_text;
use super::output::{Output, table};
use super::{CliError, Exit, backend};
use crate::api::client::Client;
use crate::api::{ApplyReport, BackendSpec, Guide, ProbeView, ServicePatch, ServiceSpec, ServiceView};
use crate::model::{AdminState, ByteCount, Protocol, Weight};
use hyper::Method;

pub(super) async fn run(client: &Client, output: Output, command: ServiceCommand) -> Result<Exit, CliError> {
    match command {
        ServiceCommand::List => {
            let services: Vec<ServiceView> = client.get("/services").await?;
            output.print(&services, |services| list(services))?;
        }
        ServiceCommand::Show { service } => {
            let service: ServiceView = client.get(&format!("/services/{service}")).await?;
            output.print(&service, show)?;
        }
        ServiceCommand::Add {
            service: name,
            vips,
            port,
            backends,
            mode,
            protocol,
            keep_source,
            scheduler,
            max_flows,
            at_limit,
            check_path,
            no_check,
            change,
        } => {
            let backends = backends.into_iter().map(|(name, address)| BackendSpec {
                name,
                address,
                weight: Weight::default(),
                state: AdminState::Ready,
                max_flows: 0,
            });
            let backends = backends.collect();
            let spec = ServiceSpec {
                name,
                vips,
                port,
                mode,
                protocol,
                keep_source,
                scheduler,
                max_flows,
                at_limit,
                check_path,
                no_check,
                backends,
            };
            let path = format!("/services?runtime_only={}", change.runtime_only);
            let report: ApplyReport = client.send(Method::POST, &path, &spec).await?;
            output.print(&report, report_text)?;
        }
        ServiceCommand::Set { service, scheduler, max_flows, at_limit, change } => {
            let path = format!("/services/{service}?runtime_only={}", change.runtime_only);
            let patch = ServicePatch { scheduler, max_flows, at_limit };
            let report: ApplyReport = client.send(Method::PATCH, &path, &patch).await?;
            output.print(&report, report_text)?;
        }
        ServiceCommand::Guide { service } => {
            let guide: Guide = client.get(&format!("/services/{service}/guide")).await?;
            output.print(&guide, guide_text)?;
        }
        ServiceCommand::Probe { service } => {
            let path = format!("/services/{service}/probe");
            let views: Vec<ProbeView> = client.send(Method::POST, &path, &()).await?;
            output.print(&views, |views| probe_text(views))?;
            if views.iter().any(|view| !view.answers) {
                return Ok(Exit::Failure);
            }
        }
        ServiceCommand::Del { service, force, change } => {
            let path = format!("/services/{service}?runtime_only={}&force={force}", change.runtime_only);
            let report: ApplyReport = client.delete(&path).await?;
            output.print(&report, report_text)?;
        }
    }
    Ok(Exit::Success)
}

/// The guide as a script that says which part is for whom.
fn guide_text(guide: &Guide) -> String {
    let mut lines = vec![format!("# service {}", guide.service)];
    let parts = [("on each backend", &guide.on_backends), ("on each node", &guide.on_nodes)];
    for (whom, commands) in parts.into_iter().filter(|(_, commands)| !commands.is_empty()) {
        lines.push(format!("\n# {whom}:"));
        lines.extend(commands.iter().cloned());
    }
    lines.push(String::new());
    lines.extend(guide.notes.iter().map(|note| format!("# {note}")));
    lines.join("\n")
}

fn probe_text(views: &[ProbeView]) -> String {
    let rows = views.iter().map(|view| {
        vec![
            view.backend.to_string(),
            view.address.to_string(),
            view.asked.to_string(),
            if view.answers { "yes" } else { "no" }.to_owned(),
            view.result.clone(),
        ]
    });
    table(&["backend", "address", "asked at", "answers", "result"], rows.collect())
}

/// The mode, with what makes it another one.
fn mode(service: &ServiceView) -> String {
    let protocol = if service.protocol == Protocol::Tcp { "" } else { " udp" };
    let source = if service.keep_source { " keep_source" } else { "" };
    format!("{}{protocol}{source}", service.mode)
}

fn listen(service: &ServiceView) -> String {
    if service.listen.is_empty() {
        return "on no VIP of this node".into();
    }
    service.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn list(services: &[ServiceView]) -> String {
    let rows = services.iter().map(|service| {
        let taking =
            service.backends.iter().filter(|one| one.addresses.iter().any(|address| address.slots > 0));
        let sum =
            |count: fn(&crate::api::BackendView) -> u64| service.backends.iter().map(count).sum::<u64>();
        vec![
            service.name.to_string(),
            mode(service),
            listen(service),
            service.scheduler.clone(),
            format!("{}/{}", taking.count(), service.backends.len()),
            service.active_flows.to_string(),
            sum(|one| one.flows_new).to_string(),
            ByteCount(sum(|one| one.forward_bytes)).to_string(),
            ByteCount(sum(|one| one.reverse_bytes)).to_string(),
        ]
    });
    let headers = [
        "service",
        "mode",
        "listens at",
        "scheduler",
        "backends",
        ">flows",
        ">new flows",
        ">bytes in",
        ">bytes out",
    ];
    table(&headers, rows.collect())
}

/// What connections that end at the node do; nothing of services that have none.
fn connections(service: &ServiceView) -> String {
    let Some(proxy) = &service.proxy else { return String::new() };
    let ended: Vec<String> = proxy.ended.iter().map(|(how, count)| format!("{how} {count}")).collect();
    let ended = if ended.is_empty() { "none".to_owned() } else { ended.join(", ") };
    let tls = proxy.tls.as_ref().map_or_else(String::new, |tls| {
        let (full, resumed) = (tls.full_handshakes, tls.resumed_handshakes);
        format!("TLS: {full} full handshakes, {resumed} resumed; `lbctl cert list` shows the certificates\n")
    });
    format!("connections: {} waiting for a backend; ended: {ended}\n{tls}", proxy.waiting)
}

fn show(service: &ServiceView) -> String {
    let check = service.health_check.as_deref().unwrap_or("none");
    format!(
        "service {}\nmode {}, {}\nlistens at {}\nflows: {} active, {}, at a limit: {}\n{}health check {check}\nwith all backends down: {}\nwithout a rule of the firewall: {}\n\n{}",
        service.name,
        mode(service),
        service.scheduler,
        listen(service),
        service.active_flows,
        backend::at_most(service.max_flows),
        service.at_limit,
        connections(service),
        service.when_down,
        service.default_policy,
        backend::list(&service.backends)
    )
}
