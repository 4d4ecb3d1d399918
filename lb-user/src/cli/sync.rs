//! `lbctl sync`: how flows are shared.

use super::output::{Output, table};
use super::{CliError, Exit};
use crate::api::client::Client;
use crate::api::{SyncPeerView, SyncView};
use std::fmt::Write as _;

pub(super) async fn run(client: &Client, output: Output) -> Result<Exit, CliError> {
    let view: SyncView = client.get("/sync").await?;
    output.print(&view, text)?;
    Ok(Exit::Success)
}

fn text(view: &SyncView) -> String {
    if view.address.is_none() {
        return "this node shares no flows: [sync] in the configuration makes it do that".to_owned();
    }
    let headers = ["peer", "node", "state", ">waiting", ">taken", ">sent", ">received", "configuration"];
    let mut text = table(&headers, view.peers.iter().map(row).collect());
    // Writing to a String cannot fail.
    if !view.joined {
        text.push_str("\nstill waiting for the others' flows; takes no VIP from an Active router");
    }
    for peer in &view.peers {
        if let Some(reason) = &peer.refused {
            let _ = write!(text, "\n{}: no flows are shared with it: {reason}", peer.address);
        }
        let lists = [
            ("both nodes serve (split brain)", &peer.both_active),
            ("down only here", &peer.down_only_here),
            ("down only there", &peer.down_only_there),
        ];
        for (words, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            let _ = write!(text, "\n{}: {words}: {}", peer.address, list.join(", "));
        }
        let counts = [
            ("flows of backends that this node does not have like that", peer.flows_of_unknown_backends),
            ("flows of VIPs that do not move here", peer.flows_of_other_vips),
            ("flows that did not fit the table", peer.flows_failed),
            ("datagrams refused", peer.refused_datagrams),
        ];
        for (words, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            let _ = write!(text, "\n{}: {words}: {count}", peer.address);
        }
    }
    let counts = [
        ("datagrams without the right seal", view.unsealed),
        ("datagrams from nodes that are no peers", view.strangers),
        ("flows that the program could not tell of", view.missed),
    ];
    for (words, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        let _ = write!(text, "\n{words}: {count}");
    }
    text
}

fn row(peer: &SyncPeerView) -> Vec<String> {
    let state = match peer {
        SyncPeerView { refused: Some(_), .. } => "refused",
        SyncPeerView { here: false, .. } => "away",
        SyncPeerView { has_snapshot: true, has_been_told: true, .. } => "in sync",
        _ => "telling",
    };
    let configuration = match peer.same_configuration {
        Some(true) => "same",
        Some(false) => "differs",
        None => "unknown",
    };
    vec![
        peer.address.to_string(),
        peer.node.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string),
        state.to_owned(),
        peer.waiting.to_string(),
        peer.flows_taken.to_string(),
        peer.sent_datagrams.to_string(),
        peer.received_datagrams.to_string(),
        configuration.to_owned(),
    ]
}
