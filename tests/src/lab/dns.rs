//! Name servers on the web servers: real dnsmasq, each of which says who it is. What UDP services are shown with.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::addresses::{self, WEBS};
use super::{Host, Lab, paths, poll, processes, programs};

/// The name of dnsmasq among a host's processes.
pub(super) const PROCESS: &str = "dnsmasq";

/// The name whose text record is the server's own name.
pub(super) const WHO: &str = "who.lab";

/// A name server's log: each query with the address it came from.
pub(super) fn log_path(web: &str) -> PathBuf {
    paths::host_dir(web).join("dns.log")
}

/// Starts both name servers.
pub(super) fn start_all(lab: &Lab) -> Result<()> {
    let dnsmasq = programs::find("dnsmasq")?;
    for web in WEBS {
        let folder = paths::host_dir(web);
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let (record, log) =
            (format!("--txt-record={WHO},{web}"), format!("--log-facility={}", log_path(web).display()));
        let arguments = [
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--pid-file",
            "--user=root",
            "--log-queries",
            &log,
            &record,
        ];
        processes::start(lab, web, PROCESS, &dnsmasq, &arguments)?;
    }
    WEBS.iter().try_for_each(|web| wait_until_ready(lab, web))
}

fn wait_until_ready(lab: &Lab, web: &str) -> Result<()> {
    let host = Host::find(web)?;
    poll::until(&format!("dnsmasq on {web} answers"), Duration::from_secs(10), || {
        processes::check_alive(lab, web, PROCESS)?;
        // It opens its sockets for UDP and TCP together.
        let address = (addresses::ipv4_of(web), 53).into();
        host.inside(|| std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).map(drop))?
            .context("connecting")
    })
}
