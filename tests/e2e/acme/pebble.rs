//! An authority on the client's host: pebble, with a name server of its own.

use crate::client::{PATIENCE, client_shell};
use crate::tls::issue;
use anyhow::{Context as _, Result, ensure};
use lbctl_tests::lab::{Lab, poll, processes};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the authority is.
pub(super) const AUTHORITY: &str = "10.90.0.10";

/// pebble and its name server, on the client's host.
pub(super) struct Pebble {
    /// Who signs what it gives out; another one with each start.
    pub(super) root: PathBuf,
}

impl Pebble {
    /// Its certificates last so long.
    pub(super) fn start(lab: &Lab, lasts: Duration) -> Result<Self> {
        let folder = lab.ca_certificate().with_file_name("pebble");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("web.pem"), issue(lab, "pebble", &format!("IP:{AUTHORITY}"), 2)?)?;
        let file = |name: &str| folder.join(name).display().to_string();
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("{AUTHORITY}:14000"),
            "managementListenAddress": format!("{AUTHORITY}:15000"),
            "certificate": file("web.pem"),
            "privateKey": file("web.pem"),
            "httpPort": 8081,
            "tlsPort": 443,
            "certificateValidityPeriod": lasts.as_secs(),
        }});
        std::fs::write(folder.join("config.json"), config.to_string())?;
        let names = format!("{AUTHORITY}:8053");
        let only_names = ["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""];
        let places = ["-dns01", &names, "-management", "10.90.0.10:8055", "-defaultIPv4", "10.80.0.100"];
        processes::start(
            lab,
            "client",
            "names",
            Path::new("pebble-challtestsrv"),
            &[&only_names[..], &places].concat(),
        )?;
        let pebble = Self { root: folder.join("root.pem") };
        pebble.run(lab)?;
        Ok(pebble)
    }

    /// It begins, with no memory of anything before.
    fn run(&self, lab: &Lab) -> Result<()> {
        let config = self.root.with_file_name("config.json").display().to_string();
        let names = format!("{AUTHORITY}:8053");
        let words = ["PEBBLE_VA_NOSLEEP=1", "pebble", "-config", &config, "-dnsserver", &names];
        processes::start(lab, "client", "pebble", Path::new("env"), &words)?;
        poll::until("pebble answers", PATIENCE, || {
            let root = client_shell(lab, &format!("curl -sSk https://{AUTHORITY}:15000/roots/0"))?;
            ensure!(root.contains("BEGIN CERTIFICATE"), "{root}");
            Ok(std::fs::write(&self.root, root)?)
        })
    }

    pub(super) fn restart(&self, lab: &Lab) -> Result<()> {
        let pid = lab.process_id("client", "pebble")?;
        let id = processes::ProcessId::of(pid).context("pebble has ended")?;
        processes::send(&id, nix::sys::signal::Signal::SIGKILL)?;
        poll::until("pebble has ended", PATIENCE, || {
            ensure!(!id.is_alive(), "it runs");
            Ok(())
        })?;
        self.run(lab)
    }

    /// From now on it finds that name there.
    pub(super) fn place(&self, lab: &Lab, name: &str, at: IpAddr) -> Result<()> {
        let body = format!("{{\"host\":\"{name}\",\"addresses\":[\"{at}\"]}}");
        for what in ["clear-a", "add-a"] {
            client_shell(lab, &format!("curl -sS --fail -d '{body}' http://10.90.0.10:8055/{what}"))?;
        }
        Ok(())
    }

    /// Asks over HTTPS as somebody who trusts it, and nobody else.
    pub(super) fn ask(&self, lab: &Lab, name: &str, at: IpAddr) -> Result<String> {
        let root = self.root.display();
        let at = if at.is_ipv6() { format!("[{at}]") } else { at.to_string() };
        let ask = format!(
            "curl -sS --fail --max-time 5 --cacert {root} --resolve {name}:443:{at} https://{name}/healthz"
        );
        client_shell(lab, &ask)
    }
}
