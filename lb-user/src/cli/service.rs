//! Commands about services.

use super::args::ServiceCommand;
use super::config::report_text;
use super::output::{Output, bytes, table};
use super::{CliError, Exit, backend};
use crate::api::client::Client;
use crate::api::{ApplyReport, BackendSpec, ServicePatch, ServiceSpec, ServiceView};
use crate::model::{AdminState, Protocol, Weight};
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
        ServiceCommand::Del { service, force, change } => {
            let path = format!("/services/{service}?runtime_only={}&force={force}", change.runtime_only);
            let report: ApplyReport = client.delete(&path).await?;
            output.print(&report, report_text)?;
        }
    }
    Ok(Exit::Success)
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
            bytes(sum(|one| one.forward_bytes)),
            bytes(sum(|one| one.reverse_bytes)),
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

fn show(service: &ServiceView) -> String {
    let check = service.health_check.as_deref().unwrap_or("none");
    format!(
        "service {}\nmode {}, {}\nlistens at {}\nflows: {} active, {}, at a limit: {}\nhealth check {check}\nwith all backends down: {}\nwithout a rule of the firewall: {}\n\n{}",
        service.name,
        mode(service),
        service.scheduler,
        listen(service),
        service.active_flows,
        backend::at_most(service.max_flows),
        service.at_limit,
        service.when_down,
        service.default_policy,
        backend::list(&service.backends)
    )
}
