//! `lbctl vrrp`: who is Active, and handing over.

use super::args::VrrpCommand;
use super::output::{Output, table};
use super::{CliError, Exit};
use crate::api::client::Client;
use crate::api::{HandOverRequest, HandedOver, SyncView, VirtualRouterView, VrrpView};
use crate::model::VipName;
use humantime::format_duration;
use hyper::Method;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// How often a hand-over is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) async fn run(client: &Client, output: Output, command: VrrpCommand) -> Result<Exit, CliError> {
    match command {
        VrrpCommand::Status => status(client, output).await,
        VrrpCommand::Failover { vip, to, force, wait } => {
            failover(client, output, HandOverRequest { vip, to, force }, wait.into()).await
        }
    }
}

async fn status(client: &Client, output: Output) -> Result<Exit, CliError> {
    let view: VrrpView = client.get("/vrrp").await?;
    output.print(&view, text)?;
    Ok(Exit::Success)
}

fn text(view: &VrrpView) -> String {
    if view.routers.is_empty() {
        return "no VIP has VRRP: [vip.NAME.vrrp] in the configuration gives it that".to_owned();
    }
    let headers =
        ["vip", "family", "id", "state", ">for", ">priority", ">interval", "heard", ">sent", ">received"];
    let mut text = table(&headers, view.routers.iter().map(row).collect());
    // Writing to a String cannot fail.
    for router in &view.routers {
        if let Some(trouble) = &router.trouble {
            let _ = write!(text, "\nvip {} {}: takes no part: {trouble}", router.vip, router.family);
        }
    }
    for tracker in view.trackers.iter() {
        let _ = match &tracker.trouble {
            Some(trouble) => write!(text, "\ntrack {} ({}): down: {trouble}", tracker.name, tracker.tracks),
            None => write!(text, "\ntrack {} ({}): up", tracker.name, tracker.tracks),
        };
    }
    let malformed: Vec<_> = view.malformed.iter().filter(|(_, count)| **count > 0).collect();
    for (reason, count) in malformed {
        let _ = write!(text, "\nmalformed, {reason}: {count}");
    }
    if view.foreign > 0 {
        let _ =
            write!(text, "\nfor other virtual routers, or from nodes that are no peers: {}", view.foreign);
    }
    text
}

fn row(router: &VirtualRouterView) -> Vec<String> {
    let time = |milliseconds: u64| format_duration(Duration::from_millis(milliseconds)).to_string();
    let priority = if router.priority == router.configured_priority {
        router.priority.to_string()
    } else {
        format!("{} of {}", router.priority, router.configured_priority)
    };
    let heard = router.heard.as_ref().map_or_else(
        || "nobody".to_owned(),
        |heard| format!("{} ({}), {} ago", heard.from, heard.priority, time(heard.ago_ms)),
    );
    vec![
        router.vip.to_string(),
        router.family.to_string(),
        router.id.to_string(),
        router.state.clone(),
        format_duration(Duration::from_secs(router.since_ms / 1000)).to_string(),
        priority,
        time(router.interval_ms),
        heard,
        router.adverts_sent.to_string(),
        router.adverts_received.to_string(),
    ]
}

async fn failover(
    client: &Client,
    output: Output,
    request: HandOverRequest,
    wait: Duration,
) -> Result<Exit, CliError> {
    let begun: HandedOver = client.send(Method::POST, "/vrrp/failover", &request).await?;
    let deadline = Instant::now() + wait;
    loop {
        let view: VrrpView = client.get("/vrrp").await?;
        let still: Vec<_> =
            view.routers.iter().filter(|one| one.active && begun.vips.contains(&one.vip)).collect();
        if still.is_empty() && has_arrived(client, &view, &request, &begun).await? {
            break;
        }
        if Instant::now() >= deadline {
            if still.is_empty() {
                let message = format!(
                    "gave {} away, and the other node does not say that it has it",
                    list(&begun.vips)
                );
                return Err(CliError::TimedOut(message));
            }
            let names: Vec<String> = still.iter().map(|one| format!("{} {}", one.vip, one.family)).collect();
            let message = format!(
                "nobody took {} over within {}; this node keeps serving it",
                names.join(", "),
                format_duration(wait)
            );
            return Err(CliError::TimedOut(message));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    output.print(&begun, |begun| {
        if begun.vips.is_empty() {
            "nothing is Active here".to_owned()
        } else {
            format!("handed over: {}", list(&begun.vips))
        }
    })?;
    Ok(Exit::Success)
}

fn list(vips: &[VipName]) -> String {
    vips.iter().map(VipName::as_str).collect::<Vec<_>>().join(", ")
}

/// Whether the node that was named says that it serves what it was given; nobody asks where none was named.
async fn has_arrived(
    client: &Client,
    view: &VrrpView,
    request: &HandOverRequest,
    begun: &HandedOver,
) -> Result<bool, CliError> {
    let Some(node) = &request.to else { return Ok(true) };
    let sync: SyncView = client.get("/sync").await?;
    let given = view.routers.iter().filter(|one| begun.vips.contains(&one.vip));
    let mut given = given.flat_map(|one| &one.addresses);
    let peer = sync.peers.iter().find(|peer| peer.node.as_ref() == Some(node));
    Ok(peer.is_some_and(|peer| given.all(|address| peer.active.contains(address))))
}
