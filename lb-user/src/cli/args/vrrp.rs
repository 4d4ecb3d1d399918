//! Words of `lbctl vrrp`.

use crate::model::{NodeName, VipName};
use clap::Subcommand;

/// VRRP.
#[derive(Debug, Subcommand)]
pub enum VrrpCommand {
    /// Show this node's virtual routers, and whom they heard.
    Status,
    /// Let another node have VIPs that are Active here. This node goes on serving each until the other one does.
    Failover {
        /// Only this VIP.
        vip: Option<VipName>,
        /// Let this node have it, whatever its priority; it must share flows with this one ([sync]).
        #[arg(long, value_name = "NODE")]
        to: Option<NodeName>,
        /// Also to nodes that do not have all flows yet; one named with --to must have them.
        #[arg(long)]
        force: bool,
        /// How long to wait for the other node.
        #[arg(long, value_name = "TIME", default_value = "10s")]
        wait: humantime::Duration,
    },
}
