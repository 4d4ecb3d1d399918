//! Services at which TLS ends (mode `tls`): real clients, real servers, and the files in force.

use crate::client::{
    KeptConnection, PATIENCE, client_shell, lbctl, lbctl_json, service_view, try_lbctl, vip_a, web_lab,
};
use crate::sync::{at_home, failover_lab};
use crate::vrrp::{expect_state, hand_over};
use anyhow::{Context as _, Result, ensure};
use lb_user::api::{ServiceView, Status, TlsView};
use lbctl_tests::lab::{Lab, addresses, poll};
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

const PORT: u16 = 443;

fn tls_view(lab: &Lab, node: &str) -> Result<TlsView> {
    let view: ServiceView = service_view(lab, node, "web-tls")?;
    view.proxy.and_then(|proxy| proxy.tls).context("no view of its TLS")
}

fn curl(lab: &Lab, vip: IpAddr, options: &str, path: &str) -> Result<String> {
    let authority = lab.ca_certificate();
    let at = SocketAddr::new(vip, PORT);
    client_shell(
        lab,
        &format!("curl -sS --max-time 10 --cacert {} {options} 'https://{at}{path}'", authority.display()),
    )
}

/// What `openssl s_client` says of a session; `words` are its options.
fn s_client(lab: &Lab, vip: IpAddr, words: &str) -> Result<String> {
    let at = SocketAddr::new(vip, PORT);
    // An answer is waited for: tickets come after the handshake.
    client_shell(
        lab,
        &format!(
            "(printf 'GET /healthz HTTP/1.1\\r\\nHost: web\\r\\nConnection: close\\r\\n\\r\\n'; sleep 1) | \
             openssl s_client -connect {at} -CAfile {} {words} 2>&1 || true",
            lab.ca_certificate().display()
        ),
    )
}

fn all_up(lab: &Lab, node: &str) -> Result<()> {
    poll::until("all backends of web-tls are up", PATIENCE, || {
        let view = service_view(lab, node, "web-tls")?;
        let mut addresses = view.backends.iter().flat_map(|backend| &backend.addresses);
        ensure!(addresses.all(|address| address.slots > 0), "{:?}", view.backends);
        Ok(())
    })
}

#[test]
fn tls_ends_at_the_nodes_and_nginx_logs_the_real_client() -> Result<()> {
    let lab = failover_lab()?;
    for node in ["lb1", "lb2"] {
        all_up(&lab, node)?;
    }
    for vip in [addresses::vip(addresses::VIP_A), addresses::vip(addresses::VIP_B)].concat() {
        let seen = if vip.is_ipv4() { "10.90.0.10" } else { "fd90::10" };
        let mut servers = Vec::new();
        for _ in 0..4 {
            let answer = curl(&lab, vip, "-i", "/")?;
            ensure!(answer.contains(&format!("X-Client: {seen}\r\n")), "{vip}: seen as another: {answer}");
            ensure!(answer.contains("A static page"), "{answer}");
            servers.push(if answer.contains("X-Backend: web1") { "web1" } else { "web2" });
        }
        ensure!(servers.windows(2).all(|pair| pair[0] != pair[1]), "{vip}: not in turn: {servers:?}");
    }
    // Bodies in both directions, larger than any buffer.
    for web in ["web1", "web2"] {
        std::fs::write(lab.files_dir(web).join("large"), vec![b'x'; 32 << 20])?;
    }
    let size = curl(
        &lab,
        vip_a()[0],
        "-o /dev/null -w '%{http_code} %{size_download} %{http_version}'",
        "/files/large",
    )?;
    ensure!(size == format!("200 {} 1.1", 32 << 20), "{size}");
    let versions = [("--tls-max 1.2", "TLSv1.2"), ("--tlsv1.3", "TLSv1.3")];
    for (options, version) in versions {
        let said = curl(&lab, vip_a()[0], &format!("{options} -v -o /dev/null --stderr -"), "/")?;
        ensure!(said.contains(&format!("SSL connection using {version}")), "{said}");
        ensure!(said.contains("ALPN: server accepted http/1.1"), "{said}");
    }
    let old = client_shell(
        &lab,
        "curl -sS --max-time 5 -k --tls-max 1.1 --ciphers DEFAULT@SECLEVEL=0 https://10.80.0.100/ 2>&1 || true",
    )?;
    ensure!(old.contains("alert"), "{old}");
    a_scanner_finds_nothing(&lab)?;
    what_is_seen(&lab)?;
    sessions_outlive_a_move(&lab)?;
    lab.down()
}

/// sslyze tries all that is known to be wrong with servers, and compares with what Mozilla recommends.
fn a_scanner_finds_nothing(lab: &Lab) -> Result<()> {
    let scanner = std::env::var_os("LBCTL_SSLYZE")
        .context("LBCTL_SSLYZE names no sslyze; `cargo xtask test` installs it")?;
    let mut scan = lab.host("client").command(&scanner.to_string_lossy());
    let authority = lab.ca_certificate().display().to_string();
    let server = SocketAddr::new(vip_a()[0], PORT).to_string();
    let output = scan
        .args(["--certinfo_ca_file", &authority, "--mozilla_config", "intermediate", &server])
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success() && said.contains("OK - Compliant."), "{said}");
    for fine in
        ["Compression disabled", "Not vulnerable to OpenSSL CCS injection", "Not vulnerable to Heartbleed"]
    {
        ensure!(said.contains(fine), "{fine}: {said}");
    }
    Ok(())
}

fn what_is_seen(lab: &Lab) -> Result<()> {
    let view = tls_view(lab, "lb1")?;
    ensure!(view.full_handshakes >= 10 && view.trouble.is_none(), "{view:?}");
    let [certificate] = view.certificates.as_slice() else { anyhow::bail!("{view:?}") };
    ensure!(certificate.names == ["web"] && certificate.addresses.len() == 4, "{certificate:?}");
    let said = lbctl(lab, &["cert", "list"])?;
    ensure!(
        said.contains("web-tls") && said.contains("web, 10.80.0.100") && said.contains("(in 29 days)"),
        "{said}"
    );
    let said = lbctl(lab, &["service", "show", "web-tls"])?;
    ensure!(said.contains("mode tls") && said.contains("TLS: "), "{said}");
    Ok(())
}

/// A session that began at one node goes on at the other.
fn sessions_outlive_a_move(lab: &Lab) -> Result<()> {
    let [vip, _] = vip_a();
    let folder = tempfile::tempdir()?;
    for version in ["-tls1_2", "-tls1_3"] {
        let file = folder.path().join(version).display().to_string();
        let said = s_client(lab, vip, &format!("{version} -sess_out {file}"))?;
        ensure!(said.contains("New, TLSv1") && said.contains("Verify return code: 0"), "{said}");
        hand_over(lab, "lb1", "A")?;
        expect_state(lab, "lb2", "A", "active")?;
        let before = tls_view(lab, "lb2")?.resumed_handshakes;
        let said = s_client(lab, vip, &format!("{version} -sess_in {file}"))?;
        ensure!(said.contains("Reused, TLSv1"), "{version}: {said}");
        ensure!(tls_view(lab, "lb2")?.resumed_handshakes == before + 1, "it is not counted");
        hand_over(lab, "lb2", "A")?;
        at_home(lab)?;
    }
    Ok(())
}

/// A certificate of the lab's authority for that name, with its key in the same file; good for so many days.
fn certificate(lab: &Lab, name: &str, days: i32) -> Result<String> {
    issue(lab, name, &format!("DNS:{name},IP:10.80.0.100,IP:fd80::100"), days)
}

/// The same for these names, as openssl writes them.
pub(crate) fn issue(lab: &Lab, name: &str, names: &str, days: i32) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let ca = lab.ca_certificate();
    let ca_key = ca.with_extension("key");
    let script = format!(
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout key.pem -out web.csr \
         -addext basicConstraints=critical,CA:FALSE -addext subjectAltName={names} 2>&1 && \
         openssl x509 -req -in web.csr -CA {} -CAkey {} -set_serial 0x$(openssl rand -hex 8) -days {days} \
         -copy_extensions copyall -out web.pem 2>&1 && cat key.pem >> web.pem",
        ca.display(),
        ca_key.display()
    );
    let output = Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(std::fs::read_to_string(folder.path().join("web.pem"))?)
}

/// As tools do it: another file is put in its place.
fn replace(lab: &Lab, text: &str) -> Result<()> {
    let file = lab.ca_certificate().with_file_name("swapped.pem");
    let new = file.with_extension("new");
    std::fs::write(&new, text)?;
    Ok(std::fs::rename(&new, &file)?)
}

fn shown_name(lab: &Lab) -> Result<String> {
    let at = SocketAddr::new(vip_a()[0], PORT);
    client_shell(
        lab,
        &format!("openssl s_client -connect {at} </dev/null 2>/dev/null | openssl x509 -noout -subject"),
    )
}

#[test]
fn certificates_are_swapped_under_load_and_wrong_ones_change_nothing() -> Result<()> {
    let lab = web_lab()?;
    replace(&lab, &certificate(&lab, "first", 30)?)?;
    let file = lab.ca_certificate().with_file_name("swapped.pem").display().to_string();
    let text = lab.agent_config("lb1")?;
    let (before, after) =
        text.split_once("[[service.web-tls.tls.certificate]]\n").context("no certificate")?;
    let rest = after.split_once("\n\n").context("no more tables")?.1;
    let swapped = format!("{before}[[service.web-tls.tls.certificate]]\nfile = \"{file}\"\n\n{rest}");
    lab.write_agent_config("lb1", &swapped)?;
    let said = lbctl(&lab, &["apply"])?;
    ensure!(said.contains("service web-tls: tls: certificate "), "{said}");
    all_up(&lab, "lb1")?;
    ensure!(shown_name(&lab)?.contains("CN = first"), "{}", shown_name(&lab)?);

    let over = AtomicBool::new(false);
    let (asked, errors) = std::thread::scope(|scope| {
        let asker = scope.spawn(|| {
            let (mut asked, mut errors) = (0, Vec::new());
            while !over.load(Ordering::Relaxed) {
                asked += 1;
                errors.extend(
                    curl(&lab, vip_a()[0], "--fail", "/healthz").err().map(|error| format!("{error:#}")),
                );
            }
            (asked, errors)
        });
        let swapped = (|| {
            for name in ["second", "third", "fourth"] {
                replace(&lab, &certificate(&lab, name, 30)?)?;
                poll::until("the new certificate is shown", PATIENCE, || {
                    let shown = shown_name(&lab)?;
                    ensure!(shown.contains(&format!("CN = {name}")), "{shown}");
                    Ok(())
                })?;
            }
            anyhow::Ok(())
        })();
        over.store(true, Ordering::Relaxed);
        let asked = asker.join().map_err(|_| anyhow::anyhow!("the asking thread panicked"))?;
        swapped?;
        anyhow::Ok(asked)
    })?;
    ensure!(asked > 20 && errors.is_empty(), "{} of {asked} failed: {errors:?}", errors.len());
    wrong_files_change_nothing(&lab)?;
    lab.down()
}

fn wrong_files_change_nothing(lab: &Lab) -> Result<()> {
    // One that was not good for a day, and one that is none.
    let past = certificate(lab, "past", -1)?;
    for (wrong, words) in [(past.as_str(), "expired"), ("nothing", "there is no certificate in it")] {
        replace(lab, wrong)?;
        poll::until("the wrong file is told of", PATIENCE, || {
            let trouble = tls_view(lab, "lb1")?.trouble.unwrap_or_default();
            ensure!(trouble.contains(words) && trouble.contains("what was read before stays"), "{trouble}");
            Ok(())
        })?;
        ensure!(shown_name(lab)?.contains("CN = fourth"), "{}", shown_name(lab)?);
        let status: Status = lbctl_json(lab, &["status"])?;
        ensure!(status.warnings.iter().any(|warning| warning.contains(words)), "{:?}", status.warnings);
        let upgrade = try_lbctl(lab, &["upgrade"])?;
        ensure!(upgrade.code == Some(1) && upgrade.err.contains("no upgrade"), "{upgrade:?}");
        let reload = try_lbctl(lab, &["cert", "reload"])?;
        ensure!(reload.code == Some(1) && reload.out.contains(words), "{reload:?}");
    }
    let checked = try_lbctl(lab, &["check", &lab.agent_config_path("lb1").display().to_string()])?;
    ensure!(checked.code == Some(1) && checked.err.contains("service.web-tls: "), "{checked:?}");
    // An agent that starts with it serves all but that service, and that again as soon as the file is right.
    lab.kill_agent("lb1", nix::sys::signal::Signal::SIGTERM)?;
    lab.start_agent("lb1")?;
    lab.host("client").inside(|| KeptConnection::open_at(SocketAddr::new(vip_a()[0], 80)))??;
    ensure!(curl(lab, vip_a()[0], "", "/").is_err(), "it is served without a certificate");
    replace(lab, &certificate(lab, "soon", 3)?)?;
    poll::until("it is served again", PATIENCE, || curl(lab, vip_a()[0], "--fail", "/healthz").map(drop))?;
    let status: Status = lbctl_json(lab, &["status"])?;
    ensure!(
        status.warnings.iter().any(|warning| warning.contains("expires in 2days")),
        "{:?}",
        status.warnings
    );
    let reload = lbctl(lab, &["cert", "reload"])?;
    ensure!(reload.contains("service web-tls: read anew"), "{reload}");
    Ok(())
}
