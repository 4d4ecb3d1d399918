//! What `lbctl trace` is asked for.

use super::flow::prefix;
use crate::model::ServiceName;
use clap::Args;
use ipnet::IpNet;
use std::path::PathBuf;

/// Packets to tell about.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// Only those of this service, in both directions.
    #[arg(long)]
    pub service: Option<ServiceName>,
    /// Only those from or to these addresses, and what backends answer them.
    #[arg(long, value_name = "PREFIX", value_parser = prefix)]
    pub from: Option<IpNet>,
    /// One of so many, drawn by chance.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub every: u32,
    /// Those that have nothing to do with a VIP, too.
    #[arg(long)]
    pub all: bool,
    /// End after so many.
    #[arg(short, long, value_name = "N")]
    pub count: Option<u64>,
    /// Write them to a file that Wireshark and tcpdump open (pcapng), as they came in, each with its outcome as a comment.
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,
}
