//! What the agent's log tells of connections, how it is told to tell more, and what it never tells; and the connections that are open.

use crate::client::{PATIENCE, client_shell, lbctl, lbctl_json, try_lbctl, vip_a};
use crate::mysql::client::Client;
use crate::sync::at_home;
use anyhow::{Context as _, Result, ensure};
use lb_user::api::{ConnectionList, LogView};
use lbctl_tests::lab::{Lab, Options, poll};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::process::Stdio;

/// A configuration that writes lines of JSON, and tells of each connection.
fn tell_of_connections(lab: &Lab) -> Result<()> {
    let text = lab.agent_config("lb1")?;
    let text = text.replace("[service.web-tls.proxy]\n", "[service.web-tls.proxy]\nconnection_log = true\n");
    let text = text.replace("[log]\nformat = \"text\"", "[log]\nformat = \"json\"");
    let table = "\n[service.db.proxy]\nconnection_log = true\n";
    lab.write_agent_config("lb1", &format!("{text}{table}"))?;
    let said = lbctl(lab, &["apply"])?;
    ensure!(said.contains("log: level info, format text → level info, format json"), "{said}");
    ensure!(said.contains("restart"), "the form needs a restart: {said}");
    lab.kill_agent("lb1", Signal::SIGTERM)?;
    lab.start_agent("lb1")
}

/// Entries of the log that are JSON, and of which that is true.
fn entries(lab: &Lab, is_it: impl Fn(&Value) -> bool) -> Result<Vec<Value>> {
    let text = lab.agent_log("lb1")?;
    let all = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(all.filter(is_it).collect())
}

fn connection_of(lab: &Lab, service: &str, reason: &str) -> Result<Value> {
    let is_it = |entry: &Value| {
        entry["target"] == "lbctl::connection" && entry["service"] == service && entry["reason"] == reason
    };
    poll::until(&format!("the end of a connection of {service} is told: {reason}"), PATIENCE, || {
        entries(lab, is_it)?.pop().context("no such entry")
    })
}

#[test]
fn the_log_tells_of_connections_and_more_when_asked_and_never_a_secret() -> Result<()> {
    let lab = Lab::up(Options { failover: true, ..Options::default() })?;
    tell_of_connections(&lab)?;
    let [vip, _] = vip_a();
    at_home(&lab)?;
    log_view(&lab, "info", "info")?;

    lbctl(&lab, &["log", "level", "trace"])?;
    log_view(&lab, "trace", "info")?;
    let authority = lab.ca_certificate();
    let fetch = format!("curl -sS --max-time 10 --cacert {} https://{vip}/", authority.display());
    poll::until("a page over TLS", PATIENCE, || client_shell(&lab, &fetch))?;
    let entry = connection_of(&lab, "web-tls", "closed")?;
    ensure!(entry["client"].as_str().is_some_and(|client| client.starts_with("10.90.0.10:")), "{entry}");
    ensure!(entry["vip"] == "10.80.0.100:443" && entry["tls"] == "TLSv1.3", "{entry}");
    ensure!(entry["backend"] == "web1" || entry["backend"] == "web2", "{entry}");
    ensure!(entry["down_bytes"].as_u64() > Some(100) && entry["up_bytes"].as_u64() > Some(50), "{entry}");
    ensure!(entry["wait_ms"].as_u64() <= entry["duration_ms"].as_u64(), "{entry}");
    // No client of TLS.
    client_shell(&lab, &format!("curl -s --max-time 5 http://{vip}:443/ || true"))?;
    ensure!(connection_of(&lab, "web-tls", "tls_failed")?["backend"].is_null(), "no backend took it");

    let mut session = Client::open(&lab, 3306)?;
    ensure!(session.ask("SELECT 4711;")? == "4711", "no answer");
    session.close()?;
    ensure!(connection_of(&lab, "db", "closed")?["user"] == "app", "whose session it was");
    try_lbctl(&lab, &["cert", "reload"])?;
    lbctl(&lab, &["mysql", "nodes"])?;
    let traced = |entry: &Value| entry["level"] == "TRACE" || entry["level"] == "DEBUG";
    poll::until("more is told", PATIENCE, || {
        ensure!(!entries(&lab, traced)?.is_empty(), "nothing but what is told always");
        Ok(())
    })?;
    no_secret_is_told(&lab)?;

    lbctl(&lab, &["log", "level", "info,lbctl::connection=off"])?;
    let said = lbctl(&lab, &["log", "show"])?;
    ensure!(said.contains("level info,lbctl::connection=off (the configuration says info)"), "{said}");
    lbctl(&lab, &["log", "level"])?;
    log_view(&lab, "info", "info")?;
    let refused = try_lbctl(&lab, &["log", "level", "verbose"])?;
    ensure!(refused.code == Some(2) && refused.err.contains("expected off, error, warn"), "{refused:?}");
    // A new configuration goes before what somebody wanted for now.
    let text = lab.agent_config("lb1")?.replace("format = \"json\"", "format = \"json\"\nlevel = \"warn\"");
    lab.write_agent_config("lb1", &text)?;
    lbctl(&lab, &["apply"])?;
    log_view(&lab, "warn", "warn")?;
    lab.down()
}

fn log_view(lab: &Lab, level: &str, configured: &str) -> Result<()> {
    let log: LogView = lbctl_json(lab, &["log", "show"])?;
    ensure!(log.level.as_str() == level && log.configured.as_str() == configured, "{log:?}");
    ensure!(log.format.as_str() == "json", "{log:?}");
    Ok(())
}

/// What is secret here: passwords, the key flows are shared with, the key of the certificate.
fn no_secret_is_told(lab: &Lab) -> Result<()> {
    let folder = lab.agent_config_path("lb1");
    let folder = folder.parent().context("a folder")?;
    let key = std::fs::read_to_string(folder.join("sync.key"))?;
    let mut secrets: Vec<String> =
        ["app-password", "lbctl-password", "replication-password", key.trim()].map(str::to_owned).into();
    let text = lab.agent_config("lb1")?;
    let file = text.lines().find_map(|line| line.strip_prefix("key = ")).context("a key of TLS")?;
    let private = std::fs::read_to_string(file.trim_matches('"'))?;
    secrets.extend(private.lines().filter(|line| line.len() > 40).map(str::to_owned));
    ensure!(secrets.len() > 4, "no lines of a private key");
    let log = lab.agent_log("lb1")?;
    for secret in secrets {
        ensure!(!log.contains(&secret), "the log tells a secret: {}…", &secret[..8.min(secret.len())]);
    }
    Ok(())
}

#[test]
fn open_connections_are_listed_with_what_went_over_them_until_they_end() -> Result<()> {
    let lab = crate::client::web_lab()?;
    std::fs::write(lab.files_dir("web1").join("large"), vec![b'x'; 64 << 20])?;
    std::fs::write(lab.files_dir("web2").join("large"), vec![b'x'; 64 << 20])?;
    let [vip, _] = vip_a();
    let list = |words: &[&str]| -> Result<ConnectionList> {
        lbctl_json(&lab, &[&["connection", "list"], words].concat())
    };
    ensure!(list(&[])?.connections.is_empty(), "there is one already");
    let mut curl = lab.host("client").command("curl");
    curl.args(["-sk", "-o", "/dev/null", "--limit-rate", "2M", "--max-time", "60"]);
    let mut curl = curl.arg(format!("https://{vip}/files/large")).stdout(Stdio::null()).spawn()?;
    let open = poll::until("the download is listed", PATIENCE, || {
        let list = list(&["--service", "web-tls"])?;
        let [open] = &list.connections[..] else { anyhow::bail!("{list:?}") };
        ensure!(open.down_bytes > 1 << 20, "{open:?}");
        Ok(open.clone())
    });
    let open = open.inspect_err(|_| drop(curl.kill()))?;
    ensure!(open.client.ip().to_string() == "10.90.0.10" && open.vip.ip() == vip, "{open:?}");
    let name = open.backend_name.as_ref().context("no backend")?.to_string();
    ensure!(open.backend.port() == 8080 && ["web1", "web2"].contains(&name.as_str()), "{open:?}");
    ensure!(open.up_bytes > 100 && open.idle_ms < 5000, "{open:?}");
    let table = lbctl(&lab, &["connection", "list", "--backend", &name, "--client", "10.90.0.0/24"])?;
    ensure!(table.contains(&open.client.to_string()) && table.contains("BYTES OUT"), "{table}");
    let other = if name == "web1" { "web2" } else { "web1" };
    ensure!(list(&["--backend", other])?.connections.is_empty(), "of another backend");
    ensure!(list(&["--idle", "1h"])?.connections.is_empty(), "of one that is not idle");
    ensure!(list(&["--limit", "0"])?.truncated, "that there are more");
    let unknown = try_lbctl(&lab, &["connection", "list", "--service", "nothing"])?;
    ensure!(unknown.code == Some(4), "{unknown:?}");
    curl.kill()?;
    curl.wait()?;
    poll::until("it is gone from the list", PATIENCE, || {
        ensure!(list(&[])?.connections.is_empty(), "{:?}", list(&[])?);
        Ok(())
    })?;
    lab.down()
}
