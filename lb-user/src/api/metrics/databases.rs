//! Figures of services of databases.

use super::text::Text;
use super::text::Type::{Counter, Gauge};
use crate::api::{MysqlNode, MysqlView};
use std::fmt::Display;

pub(super) fn databases(text: &mut Text, views: &[MysqlView]) {
    let nodes = || views.iter().flat_map(|view| view.nodes.iter().map(move |node| (view, node)));
    let labels = |view, node| -> [(&str, &dyn Display); 2] {
        let (view, node): (&MysqlView, &MysqlNode) = (view, node);
        [("service", &view.service), ("backend", &node.backend)]
    };
    let mut roles = text.family("lbctl_mysql_role", Gauge, "What the backend is good for.");
    for (view, node) in nodes() {
        roles.states(&labels(view, node), "role", &["primary", "replica", "unfit"], &node.role);
    }
    let help = "How long ago the primary went on from what the replica has.";
    let mut lag = text.family("lbctl_mysql_lag_seconds", Gauge, help);
    for (view, node) in nodes() {
        if let Some(milliseconds) = node.lag_ms {
            lag.sample(&labels(view, node), milliseconds as f64 / 1000.0);
        }
    }
    let help = "Commands, by where they were sent and why.";
    let mut routed = text.family("lbctl_mysql_routed_total", Counter, help);
    for (view, route) in views.iter().flat_map(|view| view.routes.iter().map(move |route| (view, route))) {
        let labels: [(&str, &dyn Display); 3] =
            [("service", &view.service), ("target", &route.target), ("why", &route.why)];
        routed.sample(&labels, route.count);
    }
    let mut sessions = text.family("lbctl_mysql_sessions", Gauge, "Sessions of clients.");
    for view in views {
        sessions.sample(&[("service", &view.service)], view.sessions.len());
    }
    let help = "Sessions of which nothing runs at a replica now.";
    let mut held = text.family("lbctl_mysql_sessions_held", Gauge, help);
    for view in views {
        let count = view.sessions.iter().filter(|session| !session.held.is_empty()).count();
        held.sample(&[("service", &view.service)], count);
    }
}
