//! Certificates from an authority: a real one (pebble), that looks at names of both nodes' VIPs.

mod pebble;

use crate::client::{PATIENCE, client_shell, lbctl, lbctl_json, lbctl_on, service_view, vip_a};
use crate::sync::failover_lab;
use anyhow::{Context as _, Result, ensure};
use lb_user::api::{ServiceView, Status};
use lbctl_tests::lab::{Lab, addresses, poll, processes};
use pebble::{AUTHORITY, Pebble};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An authority looks several times, and makes a client wait in between.
const ISSUED_WITHIN: Duration = Duration::from_secs(60);

/// The configuration in which `web-tls` has certificates of that authority.
fn with_acme(lab: &Lab, node: &str, names: &str, challenge: &str) -> Result<String> {
    let text = lab.agent_config(node)?;
    // What an earlier call appended.
    let text = text.split_once("\n[acme]\n").map_or(&text[..], |(before, _)| before);
    let head = "[[service.web-tls.tls.certificate]]\n";
    let (before, after) = text.split_once(head).context("no certificate")?;
    let rest = after.split_once("\n\n").context("no more tables")?.1;
    Ok(format!(
        "{before}{head}acme = [{names}]\n\n{rest}\n[acme]\ndirectory = \"https://{AUTHORITY}:14000/dir\"\nca = \"{}\"\n\
         contact = \"mailto:ops@example.org\"\nterms_of_service_agreed = true\nchallenge = \"{challenge}\"\nfolder = \"{}\"\n\n",
        lab.ca_certificate().display(),
        folder(lab, node).display(),
    ))
}

fn folder(lab: &Lab, node: &str) -> PathBuf {
    lab.agent_config_path(node).with_file_name("acme")
}

fn apply(lab: &Lab, names: &str, challenge: &str, more: &str) -> Result<()> {
    for node in ["lb1", "lb2"] {
        let text = with_acme(lab, node, names, challenge)?;
        lab.write_agent_config(node, &format!("{text}{more}"))?;
        lbctl_on(lab, node, &["apply"])?;
    }
    Ok(())
}

/// The serial number of what a VIP shows for that name.
fn serial(lab: &Lab, name: &str, at: IpAddr) -> Result<String> {
    let at = SocketAddr::new(at, 443);
    let ask = format!(
        "openssl s_client -connect {at} -servername {name} </dev/null 2>/dev/null | openssl x509 -noout -serial"
    );
    client_shell(lab, &ask)
}

/// All that a node keeps, by its name, without what others may read.
fn kept(lab: &Lab, node: &str) -> Result<Vec<String>> {
    let folder = folder(lab, node);
    ensure!(std::fs::metadata(&folder)?.mode() & 0o777 == 0o700, "others may look into {}", folder.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        let entry = entry?;
        let mode = entry.metadata()?.mode() & 0o777;
        ensure!(mode == 0o600, "{}: {mode:o}", entry.path().display());
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn challenged(lab: &Lab, node: &str, service: &str) -> Result<u64> {
    let view: ServiceView = service_view(lab, node, service)?;
    let ended = view.proxy.context("no view of its connections")?.ended;
    Ok(ended.get("challenged").copied().unwrap_or_default())
}

#[test]
fn both_nodes_get_certificates_of_an_authority_and_renew_them() -> Result<()> {
    let lab = failover_lab()?;
    let (lasts, plain) = (Duration::from_secs(30), lab.agent_config("lb1")?);
    let pebble = Pebble::start(&lab, lasts)?;
    let ([a, a6], [b, b6]) = (vip_a(), addresses::vip(addresses::VIP_B));
    // The authority comes to both nodes, whichever of them asked.
    pebble.place(&lab, "web.example.org", a)?;
    pebble.place(&lab, "www.example.org", b)?;
    apply(&lab, "\"web.example.org\", \"www.example.org\"", "tls-alpn-01", "")?;
    for (name, at) in
        [("web.example.org", a), ("web.example.org", b6), ("www.example.org", b), ("www.example.org", a6)]
    {
        poll::until(&format!("{name} is served at {at}"), ISSUED_WITHIN, || {
            pebble.ask(&lab, name, at).map(drop)
        })?;
    }
    let first = serial(&lab, "web.example.org", a)?;
    ensure!(first == serial(&lab, "web.example.org", b)?, "each node has its own");
    ensure!(
        challenged(&lab, "lb1", "web-tls")? > 0 && challenged(&lab, "lb2", "web-tls")? > 0,
        "it came to one node alone"
    );
    let (ours, theirs) = (kept(&lab, "lb1")?, kept(&lab, "lb2")?);
    ensure!(ours == theirs && ours.len() == 2 && ours[0].starts_with("account-"), "{ours:?} {theirs:?}");
    for name in &ours {
        let read = |node| std::fs::read(folder(&lab, node).join(name));
        ensure!(read("lb1")? == read("lb2")?, "{name} differs");
    }
    let said = lbctl(&lab, &["cert", "list"])?;
    ensure!(said.contains("web.example.org-") && said.contains("www.example.org"), "{said}");

    // It is renewed before it ends, without a request that fails, from whichever node.
    let [failures, stop] = ["failures", "stop"].map(|name| pebble.root.with_file_name(name));
    let (root, failed) = (pebble.root.display(), failures.display());
    let ask = |at: IpAddr| {
        format!(
            "curl -sS --fail --max-time 5 --cacert {root} --resolve web.example.org:443:{at} https://web.example.org/healthz || date >>{failed}"
        )
    };
    let asks = format!("{}; {}; echo asked; sleep 0.1", ask(a), ask(b));
    let script = format!(": >{failed}; until [ -e {} ]; do {asks}; done; echo ended", stop.display());
    processes::start(&lab, "client", "asker", Path::new("sh"), &["-c", &script])?;
    poll::until("both nodes show another one", lasts, || {
        let (one, other) = (serial(&lab, "web.example.org", a)?, serial(&lab, "web.example.org", b)?);
        ensure!(one != first && one == other, "{one} {other}");
        Ok(())
    })?;
    files_that_are_gone_come_back(&lab)?;
    std::fs::write(&stop, "")?;
    let log = processes::log_path("client", "asker");
    poll::until("the last request is over", PATIENCE, || {
        let asked = std::fs::read_to_string(&log)?;
        ensure!(asked.contains("ended") && asked.matches("asked").count() > 20, "{asked}");
        Ok(())
    })?;
    let failed = std::fs::read_to_string(&failures)?;
    ensure!(failed.is_empty(), "{} requests failed, see {}", failed.lines().count(), log.display());
    another_name_is_proved_over_http(&lab, &pebble, &plain)?;
    another_node_asks_when_the_first_is_gone(&lab, &pebble)?;
    an_authority_that_does_not_know_the_account_gets_another_one(&lab, &pebble)?;
    lab.down()
}

/// A file that is taken away or damaged is written again, another folder is filled, and what cannot be written is told until it can be.
fn files_that_are_gone_come_back(lab: &Lab) -> Result<()> {
    let whole = |what: &str, folder: &Path| {
        poll::until(what, PATIENCE, || {
            let all: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<_, _>>()?;
            ensure!(all.len() == 2, "{all:?}");
            for entry in all {
                let text = std::fs::read_to_string(entry.path())?;
                ensure!(text.contains("PRIVATE KEY") || text.contains("key_pkcs8"), "{text}");
            }
            Ok(())
        })
    };
    let first = folder(lab, "lb1");
    for damage in ["rm -f", "truncate -s 10"] {
        client_shell(lab, &format!("{damage} {}/*", first.display()))?;
        whole(&format!("after {damage}"), &first)?;
        // And not because it was renewed just then.
        let events = lbctl(lab, &["events"])?;
        ensure!(events.contains("is kept again"), "{events}");
    }
    let text = lab.agent_config("lb1")?;
    let other = first.with_file_name("elsewhere");
    lab.write_agent_config("lb1", &text.replace(&first.display().to_string(), &other.display().to_string()))?;
    lbctl(lab, &["apply"])?;
    whole("the other folder is filled", &other)?;
    // A file is where the folder should be.
    let blocked = first.with_file_name("blocked");
    std::fs::write(&blocked, "")?;
    lab.write_agent_config(
        "lb1",
        &text.replace(&first.display().to_string(), &blocked.display().to_string()),
    )?;
    lbctl(lab, &["apply"])?;
    let unwritten = || -> Result<bool> {
        let status: Status = lbctl_json(lab, &["status"])?;
        Ok(status.warnings.iter().any(|warning| warning.contains("cannot be kept")))
    };
    poll::until("it is told that nothing can be kept", PATIENCE, || {
        ensure!(unwritten()?, "nobody was told");
        Ok(())
    })?;
    std::fs::remove_file(&blocked)?;
    whole("it is kept once that works", &blocked)?;
    poll::until("it is not told any more", PATIENCE, || {
        ensure!(!unwritten()?, "it is still told");
        Ok(())
    })?;
    lab.write_agent_config("lb1", &text)?;
    lbctl(lab, &["apply"])?;
    Ok(())
}

/// More names are another certificate; until it is there, the one before is shown.
fn another_name_is_proved_over_http(lab: &Lab, pebble: &Pebble, plain: &str) -> Result<()> {
    let ([a, _], [b, _]) = (vip_a(), addresses::vip(addresses::VIP_B));
    pebble.place(lab, "new.example.org", IpAddr::from([10, 80, 0, 21]))?;
    let names = "\"web.example.org\", \"www.example.org\", \"new.example.org\"";
    let redirect = "[service.redirect]\nvips = [\"A\", \"B\"]\nport = 8081\nmode = \"redirect-https\"\n\n";
    apply(lab, names, "http-01", redirect)?;
    poll::until("it is told why there is none", ISSUED_WITHIN, || {
        let status: Status = lbctl_json(lab, &["status"])?;
        let told = |warning: &&String| {
            warning.contains("acme: no certificate for") && warning.contains("new.example.org")
        };
        let warning = status.warnings.iter().find(told).with_context(|| format!("{:?}", status.warnings))?;
        ensure!(warning.contains("urn:ietf:params:acme:error:"), "{warning}");
        Ok(())
    })?;
    for at in [a, b] {
        pebble.ask(lab, "web.example.org", at).context("the one before is not shown")?;
        ensure!(pebble.ask(lab, "new.example.org", at).is_err(), "a certificate for a name nobody proved");
    }
    // Without [acme] nobody waits for one, and who has mended something need not wait for the rest's end.
    let mended = [lab.agent_config("lb1")?, lab.agent_config("lb2")?];
    lab.write_agent_config("lb1", plain)?;
    lbctl(lab, &["apply"])?;
    poll::until("nothing is told of it", PATIENCE, || {
        let status: Status = lbctl_json(lab, &["status"])?;
        ensure!(!status.warnings.iter().any(|warning| warning.contains("acme")), "{:?}", status.warnings);
        Ok(())
    })?;
    pebble.place(lab, "new.example.org", b)?;
    for (node, text) in ["lb1", "lb2"].into_iter().zip(&mended) {
        lab.write_agent_config(node, text)?;
        lbctl_on(lab, node, &["apply"])?;
    }
    for at in [a, b] {
        poll::until("the new name is served", ISSUED_WITHIN, || {
            pebble.ask(lab, "new.example.org", at).map(drop)
        })?;
    }
    ensure!(challenged(lab, "lb2", "redirect")? > 0, "nobody asked over HTTP");
    poll::until("lb1 keeps it, too", PATIENCE, || {
        let kept = kept(lab, "lb1")?;
        ensure!(kept.len() == 3, "{kept:?}");
        Ok(())
    })
}

/// The node that asks has died in the middle of an order; the other one serves its VIPs, and asks. Nobody hears of what it got before a rule lets
/// peers reach the port for that.
fn another_node_asks_when_the_first_is_gone(lab: &Lab, pebble: &Pebble) -> Result<()> {
    let [a, _] = vip_a();
    pebble.place(lab, "late.example.org", IpAddr::from([10, 80, 0, 21]))?;
    let old = "\"new.example.org\"]";
    for node in ["lb1", "lb2"] {
        let text = lab.agent_config(node)?;
        ensure!(text.contains(old), "{text}");
        let deny = if node == "lb1" { "\n[firewall]\nhost_default = \"deny\"\n" } else { "" };
        let text = text.replace(old, "\"new.example.org\", \"late.example.org\"]") + deny;
        lab.write_agent_config(node, &text)?;
        lbctl_on(lab, node, &["apply"])?;
    }
    poll::until("lb1 asks", PATIENCE, || {
        let events = lbctl(lab, &["events"])?;
        let asked = events
            .lines()
            .any(|line| line.contains("is asked for a certificate for") && line.contains("late.example.org"));
        ensure!(asked, "{events}");
        Ok(())
    })?;
    lab.kill_agent("lb1", nix::sys::signal::Signal::SIGKILL)?;
    pebble.place(lab, "late.example.org", a)?;
    poll::until("lb2 has got it", ISSUED_WITHIN, || pebble.ask(lab, "late.example.org", a).map(drop))?;

    lab.start_agent("lb1")?;
    let warning = "does not hear of certificates";
    let told = |is_told: bool| {
        poll::until(&format!("lb2 tells of a closed port: {is_told}"), ISSUED_WITHIN, || {
            let status: Status = serde_json::from_str(&lbctl_on(lab, "lb2", &["-o", "json", "status"])?)?;
            let is_there =
                status.warnings.iter().any(|one| one.contains(warning) && one.contains("host_default"));
            ensure!(is_there == is_told, "{:?}", status.warnings);
            Ok(())
        })
    };
    told(true)?;
    let text = lab.agent_config("lb1")?;
    let rule =
        "[[firewall.rule]]\nname = \"peers\"\nallow = [\"10.80.0.0/24\", \"fd80::/64\"]\nhost = true\n";
    lab.write_agent_config("lb1", &format!("{text}\n{rule}"))?;
    lbctl(lab, &["apply"])?;
    told(false)?;
    poll::until("lb1 shows it, too", PATIENCE, || {
        let (ours, theirs) = (kept(lab, "lb1")?, kept(lab, "lb2")?);
        ensure!(ours == theirs && ours.len() == 4, "{ours:?} {theirs:?}");
        Ok(())
    })
}

/// An authority that has lost its memory: the account is none any more, which is found out by the next renewal; all nodes have the next one.
fn an_authority_that_does_not_know_the_account_gets_another_one(lab: &Lab, pebble: &Pebble) -> Result<()> {
    let account = |node: &str| {
        let names = kept(lab, node)?;
        let name = names.iter().find(|name| name.starts_with("account-")).context("no account")?;
        Ok::<_, anyhow::Error>(std::fs::read_to_string(folder(lab, node).join(name))?)
    };
    let before = account("lb1")?;
    pebble.restart(lab)?;
    poll::until("the authority does not know the account", ISSUED_WITHIN, || {
        // One that is not there when it is asked would be asked again after a minute. That there is none yet is an error.
        for node in ["lb1", "lb2"] {
            let _ = lbctl_on(lab, node, &["cert", "reload"]);
        }
        let events = lbctl(lab, &["events"])? + &lbctl_on(lab, "lb2", &["events"])?;
        ensure!(events.contains("accountDoesNotExist"), "{events}");
        Ok(())
    })?;
    let [a, _] = vip_a();
    poll::until("there is another account, and a certificate of it", ISSUED_WITHIN, || {
        // Or it would be asked again after a minute.
        for node in ["lb1", "lb2"] {
            lbctl_on(lab, node, &["cert", "reload"])?;
        }
        // Signed by who the authority is since it was started anew.
        pebble.ask(lab, "web.example.org", a).map(drop)?;
        ensure!(
            account("lb1")? != before && account("lb1")? == account("lb2")?,
            "the account is the old one"
        );
        Ok(())
    })
}
