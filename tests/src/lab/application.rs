//! The application servers: `lab-app` on both web servers, behind nginx.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};

use super::addresses::{Network, VIP_A, VIP_B, WEBS};
use super::{Host, Lab, http, poll, processes};

/// Where an application server listens, on its own host.
pub(super) const LISTEN: &str = "127.0.0.1:9000";

/// The name of the application server among a host's processes.
const PROCESS: &str = "app";

/// Starts the application servers and waits until they answer; their database may come later.
pub(super) fn start_all(lab: &Lab) -> Result<()> {
    let binary = lab.setup().app.as_ref().context("this lab was started without a lab-app binary")?;
    for web in WEBS {
        let database = lab.setup().app_database.clone().unwrap_or_else(|| database_url(web));
        let arguments = ["--listen", LISTEN, "--name", web, "--database", &database];
        processes::start(lab, web, PROCESS, binary, &arguments)?;
    }
    WEBS.iter().try_for_each(|web| wait_for(lab, web, "/api/healthz", Duration::from_secs(10)))
}

/// Waits until both application servers reach their database.
pub(super) fn wait_until_working(lab: &Lab, within: Duration) -> Result<()> {
    WEBS.iter().try_for_each(|web| wait_for(lab, web, "/api/notes", within))
}

fn wait_for(lab: &Lab, web: &str, path: &str, within: Duration) -> Result<()> {
    let host = Host::find(web)?;
    let address: SocketAddr = LISTEN.parse().context("the application's address")?;
    poll::until(&format!("the application on {web} answers {path}"), within, || {
        processes::check_alive(lab, web, PROCESS)?;
        host.inside(|| http::expect_ok(http::get(address, path)?).map(drop))?
    })
}

/// The `db` service as each web server uses it: through one VIP each, so that both are exercised.
fn database_url(web: &str) -> String {
    let vip = if web == WEBS[0] { VIP_A } else { VIP_B };
    format!("mysql://app:app-password@{}:3306/notes", Network::Servers.ipv4(vip))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_web_server_uses_another_vip() {
        assert!(database_url("web1").contains("@10.80.0.100:3306/notes"));
        assert!(database_url("web2").contains("@10.80.0.101:3306/notes"));
    }
}
