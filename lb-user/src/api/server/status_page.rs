//! A page for people who have no dashboard: all there is to see of this node, read anew every two seconds.
//!
//! One file without anything from elsewhere. What it reads is what the API says, without what names people or how the node is set up: whoever
//! reaches the endpoint may read it.

use super::{Context, header};
use crate::api::{ApiError, Command, CountersView, Event, EventKind, FirewallView, MysqlView};
use crate::api::{ServiceView, Snapshot, Status, SyncView, VrrpView, WAITING};
use crate::model::unix_ms;
use axum::Json;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::LazyLock;
use std::time::SystemTime;

const PAGE: &str = include_str!("status_page.html");

/// So many of the last events.
const EVENTS: usize = 20;

/// What a browser lets the page do: its own script and style, and reading from where it came.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |opens: &str, closes: &str| {
        let inside = PAGE.split_once(opens).and_then(|(_, rest)| rest.split_once(closes));
        let inside = inside.map_or("", |(inside, _)| inside);
        STANDARD.encode(Sha256::digest(inside.as_bytes()))
    };
    let style = hash("<style>", "</style>");
    let script = hash("<script type=\"module\">", "</script>");
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    )
});

/// What the page reads.
#[derive(Serialize)]
struct PageData {
    at_unix_ms: u64,
    status: Status,
    services: Vec<ServiceView>,
    vrrp: VrrpView,
    sync: SyncView,
    firewall: FirewallView,
    mysql: Vec<MysqlView>,
    counters: CountersView,
    events: Vec<Event>,
}

pub(super) async fn page() -> Response {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, Html(PAGE)).into_response()
}

pub(super) async fn data(State(context): State<Context>) -> Result<Response, ApiError> {
    let Snapshot { mut status, services, counters, mut vrrp, sync, mysql } = context.look().await?;
    let mut firewall = context.ask(Command::LookAtFirewall).await?;
    status.config_file.clear();
    // Commands have arguments, and sources are addresses of people.
    vrrp.trackers.iter_mut().for_each(|tracker| tracker.tracks.clear());
    firewall.rules.iter_mut().for_each(|rule| rule.sources.clear());
    let waiting = status.warnings.len();
    status.warnings.retain(|warning| !warning.starts_with(WAITING));
    let waiting = waiting - status.warnings.len();
    if waiting > 0 {
        status.warnings.push(format!("{WAITING}{waiting} changes of the configuration (`lbctl status`)"));
    }
    let past = context.ask(Command::PastEvents).await?;
    let events = past.iter().skip(past.len().saturating_sub(EVENTS)).cloned().map(without_settings).collect();
    let at_unix_ms = unix_ms(SystemTime::now());
    let mysql = mysql.into_iter().map(without_people).collect();
    let data = PageData { at_unix_ms, status, services, vrrp, sync, firewall, mysql, counters, events };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(data)).into_response())
}

/// That the configuration was changed may be seen, but not to what: it names commands and sources.
fn without_settings(mut event: Event) -> Event {
    match event.kind {
        EventKind::ConfigChanged => event.message = "the configuration was changed".into(),
        EventKind::ConfigRefused => event.message = "a configuration was refused".into(),
        _ if event.message.starts_with(WAITING) => {
            event.message = format!("{WAITING}the configuration was changed")
        }
        _ => {}
    }
    event
}

/// Who is logged in from where is nobody's concern here; how many, and what holds them, is.
fn without_people(mut view: MysqlView) -> MysqlView {
    for session in &mut view.sessions {
        session.user.clear();
        session.client = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        (session.primary, session.replica) = (None, None);
    }
    for node in &mut view.nodes {
        (node.position, node.source) = (None, None);
    }
    view
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_pages_only_script_and_style() {
        for tag in ["<script", "<style"] {
            assert_eq!(PAGE.matches(tag).count(), 1, "{tag}");
        }
        let empty = STANDARD.encode(Sha256::digest(b""));
        assert!(!POLICY.contains(&empty), "a part was not found: {}", *POLICY);
        for word in [
            "innerHTML",
            "eval(",
            "style=\"",
            " onclick=",
            "src=",
            "url(",
            "href=\"http",
            "@import",
            "import(",
        ] {
            assert!(!PAGE.contains(word), "{word}");
        }
    }
}
