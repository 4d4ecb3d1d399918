//! `lbctl mysql`: who takes writes, what is sent where, and why.

use super::args::MysqlCommand;
use super::output::{Output, table};
use super::{CliError, Exit};
use crate::api::client::Client;
use crate::api::{
    MysqlDigest, MysqlKilled, MysqlNode, MysqlPromoted, MysqlPromotion, MysqlQuestion, MysqlRoute, MysqlView,
};
use crate::model::{ServiceName, whole_ms};
use humantime::format_duration;
use hyper::Method;
use std::net::SocketAddr;
use std::time::Duration;

pub(super) async fn run(client: &Client, output: Output, command: MysqlCommand) -> Result<Exit, CliError> {
    match command {
        MysqlCommand::Nodes => show(client, output, nodes).await,
        MysqlCommand::Routes => show(client, output, routes).await,
        MysqlCommand::Sessions => show(client, output, sessions).await,
        MysqlCommand::Digests { service, lines } => {
            let service = the_service(client, service).await?;
            let mut all: Vec<MysqlDigest> = client.get(&format!("/mysql/{service}/digests")).await?;
            all.truncate(lines);
            output.print(&all, |all| digests(all))?;
            Ok(Exit::Success)
        }
        MysqlCommand::Route { sql, service } => {
            let service = the_service(client, service).await?;
            let question = MysqlQuestion { service, sql };
            let route: MysqlRoute = client.send(Method::POST, "/mysql/route", &question).await?;
            output.print(&route, |route| format!("{}: {} ({})", route.target, route.words, route.why))?;
            Ok(Exit::Success)
        }
        MysqlCommand::Promote { backend, service, primary_is_down, within } => {
            let service = the_service(client, service).await?;
            let within_ms = whole_ms(within);
            let wanted = MysqlPromotion { backend, primary_is_down, within_ms };
            let path = format!("/mysql/{service}/promote");
            let promoted: MysqlPromoted = client.send(Method::POST, &path, &wanted).await?;
            output.print(&promoted, |promoted| {
                let first = format!("service {service}: {} takes writes", promoted.backend);
                let left = promoted.left.iter().map(|words| format!("\nleft to do: {words}"));
                first + &left.collect::<String>()
            })?;
            Ok(Exit::Success)
        }
        MysqlCommand::Kill { number, service } => {
            let service = the_service(client, service).await?;
            let path = format!("/mysql/{service}/sessions/{number}/kill");
            let killed: MysqlKilled = client.send(Method::POST, &path, &()).await?;
            output.print(&killed, |killed| format!("session {} ends", killed.number))?;
            Ok(Exit::Success)
        }
    }
}

async fn show(client: &Client, output: Output, text: fn(&[MysqlView]) -> String) -> Result<Exit, CliError> {
    let views: Vec<MysqlView> = client.get("/mysql").await?;
    output.print(&views, |views| match views.is_empty() {
        true => "no service has mode mysql".to_owned(),
        false => text(views),
    })?;
    Ok(Exit::Success)
}

/// The one that is meant: the only one, or the one that was named.
async fn the_service(client: &Client, named: Option<ServiceName>) -> Result<ServiceName, CliError> {
    if let Some(name) = named {
        return Ok(name);
    }
    let views: Vec<MysqlView> = client.get("/mysql").await?;
    match &views[..] {
        [one] => Ok(one.service.clone()),
        [] => Err(CliError::Which("no service has mode mysql".to_owned())),
        several => {
            let names: Vec<&str> = several.iter().map(|view| view.service.as_str()).collect();
            Err(CliError::Which(format!("say which with --service: {}", names.join(", "))))
        }
    }
}

fn nodes(views: &[MysqlView]) -> String {
    let headers = ["service", "backend", "address", "role", ">lag", "version", "position"];
    let row = |service: &ServiceName, node: &MysqlNode| {
        let lag = node.lag_ms.map(|lag| format_duration(Duration::from_millis(lag)).to_string());
        vec![
            service.to_string(),
            node.backend.to_string(),
            node.address.to_string(),
            node.why.as_ref().map_or_else(|| node.role.clone(), |why| format!("{}: {why}", node.role)),
            lag.unwrap_or_default(),
            node.version.clone().unwrap_or_default(),
            node.position.clone().unwrap_or_default(),
        ]
    };
    let rows = views.iter().flat_map(|view| view.nodes.iter().map(move |node| row(&view.service, node)));
    let mut text = table(&headers, rows.collect());
    for view in views {
        if let Some(why) = &view.no_primary {
            text.push_str(&format!("\nservice {}: no primary: {why}", view.service));
        }
    }
    text
}

fn routes(views: &[MysqlView]) -> String {
    let rows = views.iter().flat_map(|view| {
        let row = |route: &crate::api::RouteCount| {
            vec![view.service.to_string(), route.target.clone(), route.why.clone(), route.count.to_string()]
        };
        view.routes.iter().map(row).collect::<Vec<_>>()
    });
    table(&["service", "sent to", "why", ">times"], rows.collect())
}

fn digests(all: &[MysqlDigest]) -> String {
    let ms = |us: u64| format!("{:.1}", us as f64 / 1000.0);
    let row = |one: &MysqlDigest| {
        let routes =
            one.routes.iter().map(|route| format!("{} {}: {}", route.target, route.why, route.count));
        vec![
            one.count.to_string(),
            one.errors.to_string(),
            ms(one.time_us),
            ms(one.time_us / one.count.max(1)),
            ms(one.time_max_us),
            one.rows.to_string(),
            routes.collect::<Vec<_>>().join(", "),
            one.text.replace(char::is_control, " "),
        ]
    };
    let headers = [">count", ">errors", ">ms", ">mean", ">max", ">rows", "sent to", "statement"];
    table(&headers, all.iter().map(row).collect())
}

fn sessions(views: &[MysqlView]) -> String {
    let address =
        |address: Option<SocketAddr>| address.map(|address| address.to_string()).unwrap_or_default();
    let rows = views.iter().flat_map(|view| {
        let row = |one: &crate::api::MysqlSession| {
            vec![
                one.number.to_string(),
                one.user.clone(),
                one.client.to_string(),
                address(one.primary),
                address(one.replica),
                one.held.join(", "),
            ]
        };
        view.sessions.iter().map(row).collect::<Vec<_>>()
    });
    table(&[">session", "user", "client", "primary", "replica", "held by"], rows.collect())
}
