//! What changes something at an agent: in words, for the question before it, and as a request.
//!
//! Owns the words. Never acts by itself: [`Action::carry_out`] is called after the user's yes.

use super::feed::in_time;
use crate::api::client::Client;
use crate::api::{ApplyReport, BackendPatch, HandOverRequest, HandedOver};
use crate::model::{AdminState, BackendName, ServiceName, VipName, Weight};
use hyper::Method;

/// A backend by its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BackendPath {
    pub(super) service: ServiceName,
    pub(super) backend: BackendName,
}

/// Something that changes an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    SetState(BackendPath, AdminState),
    /// The weight before, and the new one.
    SetWeight(BackendPath, Weight, Weight),
    HandOver(VipName),
}

impl BackendPath {
    pub(super) fn words(&self) -> String {
        format!("backend {} of service {}", self.backend, self.service)
    }
}

impl Action {
    /// What will be done, on which nodes.
    pub(super) fn question(&self, nodes: &str) -> String {
        match self {
            Self::SetState(path, AdminState::Drain) => format!("Drain {} on {nodes}?", path.words()),
            Self::SetState(path, AdminState::Ready) => format!("Make {} ready on {nodes}?", path.words()),
            Self::SetState(path, AdminState::Maint) => {
                format!("Take {} into maintenance on {nodes}?", path.words())
            }
            Self::SetWeight(path, from, to) => {
                format!("Set the weight of {} on {nodes} from {from} to {to}?", path.words())
            }
            Self::HandOver(vip) => format!("Hand VIP {vip} over from {nodes} to another node?"),
        }
    }

    /// What follows from it.
    pub(super) fn consequence(&self) -> &'static str {
        match self {
            Self::SetState(_, AdminState::Drain) => "It gets no new flows; those it has go on.",
            Self::SetState(_, AdminState::Ready) => {
                "It gets new flows again, once its checks say that it is up."
            }
            Self::SetState(_, AdminState::Maint) => {
                "It gets no new flows and is not checked; flows that it has go on."
            }
            Self::SetWeight(..) => "New flows are shared out anew; open flows stay where they are.",
            Self::HandOver(_) => {
                "This node goes on serving it until another one does, and gives it only to a node that has all flows."
            }
        }
    }

    /// Does it; in words what came of it.
    pub(super) async fn carry_out(&self, client: &Client) -> Result<String, String> {
        match self {
            Self::SetState(path, state) => {
                patch(client, path, BackendPatch { state: Some(*state), ..BackendPatch::default() }).await
            }
            Self::SetWeight(path, _, weight) => {
                patch(client, path, BackendPatch { weight: Some(*weight), ..BackendPatch::default() }).await
            }
            Self::HandOver(vip) => {
                let request = HandOverRequest { vip: Some(vip.clone()), to: None, force: false };
                let begun: HandedOver =
                    in_time(client.send(Method::POST, "/vrrp/failover", &request)).await?;
                Ok(match begun.vips.is_empty() {
                    true => "nothing is Active here".to_owned(),
                    false => format!("VIP {vip} goes to whoever advertises it next"),
                })
            }
        }
    }
}

async fn patch(client: &Client, path: &BackendPath, patch: BackendPatch) -> Result<String, String> {
    let url = format!("/services/{}/backends/{}", path.service, path.backend);
    let report: ApplyReport = in_time(client.send(Method::PATCH, &url, &patch)).await?;
    if report.changes.is_empty() {
        return Ok("that is how it was already".to_owned());
    }
    let saved = if report.saved { "applied and saved" } else { "applied" };
    Ok(format!("{}: {saved}", report.changes.join("; ")))
}
