//! `lbctl cert`: certificates of services, and reading them again.

use super::args::CertCommand;
use super::output::{Output, table};
use super::{CliError, Exit};
use crate::api::client::Client;
use crate::api::{CertificateView, ReloadedService, ServiceView, TlsView};
use hyper::Method;
use serde::Serialize;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

/// A service with its certificates.
#[derive(Serialize)]
struct OfService<'a> {
    service: &'a crate::model::ServiceName,
    #[serde(flatten)]
    tls: &'a TlsView,
}

pub(super) async fn run(client: &Client, output: Output, command: CertCommand) -> Result<Exit, CliError> {
    match command {
        CertCommand::List => list(client, output).await,
        CertCommand::Reload => reload(client, output).await,
    }
}

async fn list(client: &Client, output: Output) -> Result<Exit, CliError> {
    let services: Vec<ServiceView> = client.get("/services").await?;
    let of = |service: &'_ ServiceView| service.proxy.as_ref().and_then(|proxy| proxy.tls.clone());
    let all: Vec<_> = services.iter().filter_map(|service| Some((&service.name, of(service)?))).collect();
    let all: Vec<OfService<'_>> = all.iter().map(|(service, tls)| OfService { service, tls }).collect();
    output.print(&all, |all| text(all, now()))?;
    Ok(Exit::Success)
}

async fn reload(client: &Client, output: Output) -> Result<Exit, CliError> {
    let services: Vec<ReloadedService> = client.send(Method::POST, "/certificates/reload", &()).await?;
    output.print(&services, |services| {
        if services.is_empty() {
            return "no service has certificates".to_owned();
        }
        let lines = services.iter().map(|one| format!("service {}: {}", one.service, one.outcome));
        lines.collect::<Vec<_>>().join("\n")
    })?;
    Ok(if services.iter().all(|one| one.reloaded) { Exit::Success } else { Exit::Failure })
}

fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn text(all: &[OfService<'_>], now: Duration) -> String {
    if all.is_empty() {
        return "no service has certificates: those with mode \"tls\" do".to_owned();
    }
    let headers = ["service", "certificate for", "expires", "file"];
    let rows = all.iter().flat_map(|one| {
        one.tls.certificates.iter().map(move |certificate| {
            let file = certificate.file.display().to_string();
            vec![one.service.to_string(), names(certificate), expiry(certificate, now), file]
        })
    });
    let mut text = table(&headers, rows.collect());
    for one in all {
        if let Some(trouble) = &one.tls.trouble {
            // Writing to a String cannot fail.
            let _ = write!(text, "\nservice {}: {trouble}", one.service);
        }
    }
    text
}

fn names(certificate: &CertificateView) -> String {
    let names = certificate.names.iter().cloned();
    let all: Vec<String> = names.chain(certificate.addresses.iter().map(ToString::to_string)).collect();
    if all.is_empty() { certificate.common_name.clone() } else { all.join(", ") }
}

fn expiry(certificate: &CertificateView, now: Duration) -> String {
    let end = Duration::from_secs(certificate.not_after_unix_seconds);
    let time = humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + end);
    match end.checked_sub(now) {
        Some(left) => format!("{time} (in {} days)", left.as_secs() / 86_400),
        None => format!("{time} (EXPIRED)"),
    }
}
