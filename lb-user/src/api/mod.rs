//! The control API: versioned types, the server on a Unix socket, the client.
//!
//! HTTP and JSON, so `curl --unix-socket /run/lbctl/lbctl.sock http://lbctl/v1/status` works. The server
//! sends the agent [`Command`]s and owns no state. The CLI and the TUI know this
//! module and nothing behind it.

mod change;
pub mod client;
mod command;
mod connection;
mod error;
mod explain;
mod firewall;
mod log;
pub mod metrics;
mod mysql;
mod peer;
mod probe;
mod process;
pub mod server;
mod sync;
mod tls;
mod trace;
mod types;
mod upgrade;
mod vrrp;

pub use change::{
    ApplyReport, ApplyRequest, BackendPatch, BackendSpec, ChangeOptions, ServicePatch, ServiceSpec,
};
pub use command::{Command, Mutation, Reply};
pub use connection::{ConnectionFilter, ConnectionList, ConnectionView};
pub use error::{ApiError, ErrorKind};
pub use explain::{ExplainQuestion, Explanation, Leaves, SegmentWord};
pub use firewall::{
    ActionWord, Confirmed, DropReason, DroppedFilter, DroppedList, DroppedSourceView, FirewallAnswer,
    FirewallQuestion, FirewallView, RuleSpec, RuleView,
};
pub use log::{LogPatch, LogView};
pub use mysql::{
    MysqlDigest, MysqlKilled, MysqlNode, MysqlPromoted, MysqlPromotion, MysqlQuestion, MysqlRoute,
    MysqlSession, MysqlView, RouteCount,
};
pub use probe::{Guide, ProbeView};
pub use process::{ConfinementView, ProcessView};
pub use sync::{SyncPeerView, SyncView};
pub use tls::{CertificateView, ReloadedService, TlsView};
pub use trace::{TraceRequest, TracedPacket};
pub use types::*;
pub use upgrade::{UpgradeRequest, UpgradeStarted};
pub use vrrp::{HandOverRequest, HandedOver, HeardView, TrackerView, VirtualRouterView, VrrpView};

/// Path prefix of this version of the API.
pub const V1: &str = "/v1";
