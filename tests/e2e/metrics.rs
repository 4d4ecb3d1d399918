//! Figures as a real Prometheus collects them, and the rules that wake operators.

use crate::client::{PATIENCE, client_shell, lbctl, lbctl_on, shell, vip_a};
use crate::mysql::client::Client;
use crate::sync::{at_home, in_sync};
use anyhow::{Context as _, Result, ensure};
use lbctl_tests::lab::{Lab, Options, poll, processes};
use nix::sys::signal::Signal;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Where each node shows its figures.
const NODES: [(&str, &str); 2] = [("lb1", "10.80.0.2:9788"), ("lb2", "10.80.0.3:9788")];
/// Where Prometheus listens, on the router's host.
const PROMETHEUS: &str = "10.80.0.1:9090";

fn show_figures(lab: &Lab) -> Result<()> {
    for (node, at) in NODES {
        let text = lab.agent_config(node)?;
        lab.write_agent_config(node, &format!("{text}\n[metrics]\nlisten = \"{at}\"\n"))?;
        let said = lbctl_on(lab, node, &["apply"])?;
        ensure!(said.contains(&format!("metrics: none → at {at}")), "{said}");
        poll::until("figures are shown", PATIENCE, || {
            shell(lab, node, &format!("curl -sSf http://{at}/metrics"))
        })?;
    }
    Ok(())
}

fn start_prometheus(lab: &Lab) -> Result<()> {
    let folder = lab.agent_config_path("lb1").with_file_name("prometheus");
    std::fs::create_dir_all(&folder)?;
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/prometheus/alerts.yml");
    let targets: Vec<String> = NODES.iter().map(|(_, at)| format!("\"{at}\"")).collect();
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [\"{}\"]\nscrape_configs:\n\
         - job_name: lbctl\n  static_configs: [{{targets: [{}]}}]\n",
        rules.display(),
        targets.join(", ")
    );
    let file = folder.join("prometheus.yml");
    std::fs::write(&file, config)?;
    let words = [
        format!("--config.file={}", file.display()),
        format!("--storage.tsdb.path={}", folder.join("data").display()),
        format!("--web.listen-address={PROMETHEUS}"),
    ];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    processes::start(lab, "router", "prometheus", Path::new("prometheus"), &words)
}

/// Values of an expression, by the labels' text.
fn query(lab: &Lab, expression: &str) -> Result<Vec<(String, f64)>> {
    let ask = format!(
        "curl -sSf --max-time 5 -G --data-urlencode 'query={expression}' http://{PROMETHEUS}/api/v1/query"
    );
    let answer: serde_json::Value = serde_json::from_str(&shell(lab, "router", &ask)?)?;
    ensure!(answer["status"] == "success", "{answer}");
    let results = answer["data"]["result"].as_array().context("no result")?;
    let sample = |result: &serde_json::Value| {
        let value = result["value"][1].as_str().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
        (result["metric"].to_string(), value)
    };
    Ok(results.iter().map(sample).collect())
}

fn expect(lab: &Lab, expression: &str, samples: usize) -> Result<()> {
    poll::until(&format!("{samples} samples of {expression}"), PATIENCE, || {
        let found = query(lab, expression)?;
        ensure!(found.len() == samples, "{found:?}");
        Ok(())
    })
}

#[test]
fn a_real_prometheus_collects_the_figures_and_its_rules_see_a_backend_fall() -> Result<()> {
    let lab = Lab::up(Options { failover: true, ..Options::default() })?;
    for node in ["lb1", "lb2"] {
        in_sync(&lab, node)?;
    }
    at_home(&lab)?;
    show_figures(&lab)?;
    let [vip, _] = vip_a();
    client_shell(&lab, &format!("for i in 1 2 3 4; do curl -sf http://{vip}/healthz >/dev/null; done"))?;
    let figures = shell(&lab, "lb1", "curl -sSf -D - http://10.80.0.2:9788/metrics")?;
    ensure!(figures.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{figures}");
    let figures = shell(&lab, "lb1", "curl -sSf http://10.80.0.2:9788/metrics")?;
    well_formed(&figures)?;
    ensure!(figures.contains("lbctl_info{node=\"lb1\",version=\""), "{figures}");
    ensure!(
        shell(&lab, "lb1", "curl -s -o /dev/null -w '%{http_code}' http://10.80.0.2:9788/other")? == "404",
        "another page"
    );
    the_page_shows_the_node(&lab)?;
    the_page_hides_commands_and_settings(&lab)?;

    start_prometheus(&lab)?;
    expect(&lab, "up{job=\"lbctl\"} == 1", 2)?;
    expect(&lab, "lbctl_vip_active{vip=\"A\"} == 1", 1)?;
    expect(&lab, "lbctl_vrrp_state{vip=\"A\",family=\"ipv4\",state=\"active\"} == 1", 1)?;
    expect(&lab, "lbctl_backend_health{service=\"web\",health=\"up\"} == 1", 4)?;
    expect(&lab, "lbctl_vrrp_transitions_total{vip=\"A\",family=\"ipv4\",state=\"active\"} >= 1", 1)?;
    expect(&lab, "lbctl_checks_total{service=\"web\",backend=\"web1\",result=\"passed\"} > 1", 4)?;
    expect(&lab, "lbctl_tasks > 3", 2)?;
    expect(&lab, "lbctl_sync_peer_here == 1", 2)?;
    expect(&lab, "lbctl_tls_certificate_not_after_seconds - time() > 86400", 2)?;
    expect(&lab, "sum(lbctl_backend_flows_new_total{service=\"web\"}) >= 4", 1)?;
    expect(&lab, "process_resident_memory_bytes > 1e6", 2)?;
    expect(&lab, "ALERTS", 0)?;
    the_dashboards_queries_have_answers(&lab)?;

    lab.kill_nginx("web1", Signal::SIGTERM)?;
    expect(
        &lab,
        "ALERTS{alertname=\"LbctlBackendDown\",service=\"web\",backend=\"web1\",alertstate=\"pending\"}",
        2,
    )?;
    expect(&lab, "lbctl_check_up{service=\"web\",backend=\"web1\"} == 0", 4)?;
    expect(&lab, "lbctl_checks_total{service=\"web\",backend=\"web1\",result=\"failed\"} >= 1", 4)?;
    lab.kill_agent("lb2", Signal::SIGKILL)?;
    expect(&lab, "up{job=\"lbctl\"} == 0", 1)?;
    lab.start_agent("lb2")?;
    expect(&lab, "up{job=\"lbctl\"} == 1", 2)?;
    wrong_places_are_told(&lab)?;
    lab.down()
}

/// What a real browser makes of the page, once it has shown figures.
fn browse(lab: &Lab, at: &str, more: &str) -> Result<String> {
    let folder = tempfile::tempdir()?;
    // As root it has no sandbox of its own; the rest keeps it from looking for the rest of the world.
    let options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync \
                   --disable-background-networking --disable-component-update --virtual-time-budget=5000";
    let browser = format!(
        "timeout 60 chromium {options} --user-data-dir={} {more} http://{at}/",
        folder.path().display()
    );
    shell(lab, "router", &format!("{browser} 2>/dev/null"))
}

fn the_page_shows_the_node(lab: &Lab) -> Result<()> {
    let (_, at) = NODES[0];
    let head = shell(lab, "router", &format!("curl -sSf -D - -o /dev/null http://{at}/"))?;
    ensure!(head.contains("content-security-policy: default-src 'none'; style-src 'sha256-"), "{head}");
    let data = shell(lab, "router", &format!("curl -sSf http://{at}/status.json"))?;
    let data: serde_json::Value = serde_json::from_str(&data)?;
    ensure!(data["status"]["node"] == "lb1" && data["services"].as_array().is_some(), "{data}");
    let mut session = Client::open(lab, 3306)?;
    session.ask("SELECT 1;")?;
    let people =
        |data: &str| data.contains("\"app\"") || data.contains("10.90.0.") || data.contains("10.80.0.21:");
    let told = shell(lab, "lb1", "curl -sSf --unix-socket /run/lbctl/lb1.sock http://lbctl/v1/mysql")?;
    ensure!(people(&told), "the API tells of the session: {told}");
    let data = shell(lab, "router", &format!("curl -sSf http://{at}/status.json"))?;
    let data: serde_json::Value = serde_json::from_str(&data)?;
    let (sessions, databases) = (&data["mysql"][0]["sessions"], data["mysql"].to_string());
    ensure!(sessions.as_array().is_some_and(|all| !all.is_empty()) && !people(&databases), "{databases}");
    session.close()?;
    let shown = poll::until("the page shows figures", PATIENCE, || {
        let shown = browse(lab, at, "--dump-dom")?;
        ensure!(shown.contains("data-ready=\"true\"") && shown.contains("data-agent=\"here\""), "{shown}");
        Ok(shown)
    })?;
    take_picture(lab, at)?;
    // Its script ran under the policy, and made lines of what the agent says.
    for wanted in [
        "<span id=\"node\">lb1</span>",
        "data-service=\"web\"",
        "data-backend=\"web2\"",
        "data-health=\"up\"",
        "data-role=\"primary\"",
        "data-vip=\"A\"",
    ] {
        ensure!(shown.contains(wanted), "{wanted} is not shown: {shown}");
    }
    Ok(())
}

/// Of a tracker's command, and of what waits for a restart, the API tells; the page is for whoever reaches it.
fn the_page_hides_commands_and_settings(lab: &Lab) -> Result<()> {
    let (node, at) = NODES[0];
    let before = lab.agent_config(node)?;
    let secret = "/usr/local/bin/not-there";
    let text = before.replace("[control]\n", "[control]\nothers_may_read = true\n");
    lab.write_agent_config(
        node,
        &format!("{text}\n[track.flag]\ncommand = [\"{secret}\", \"--token=x\"]\n"),
    )?;
    lbctl_on(lab, node, &["apply"])?;
    poll::until("both are told of where they may be", PATIENCE, || {
        let said = lbctl_on(lab, node, &["vrrp", "status"])? + &lbctl_on(lab, node, &["status"])?;
        ensure!(said.contains(secret) && said.contains("its command cannot be run"), "{said}");
        ensure!(said.contains("control: others_may_read false → true"), "{said}");
        Ok(())
    })?;
    let data = shell(lab, "router", &format!("curl -sSf http://{at}/status.json"))?;
    ensure!(data.contains("its command cannot be run"), "{data}");
    ensure!(data.contains("waits for a restart of the agent: the configuration was changed"), "{data}");
    for hidden in [secret, "not-there", "--token", "others_may_read"] {
        ensure!(!data.contains(hidden), "{hidden}: {data}");
    }
    lab.write_agent_config(node, &before)?;
    lbctl_on(lab, node, &["apply"]).map(drop)
}

/// Where the documentation's picture of the page is to be put.
const PICTURES_VARIABLE: &str = "LBCTL_PICTURES";

fn take_picture(lab: &Lab, at: &str) -> Result<()> {
    let file = lab.agent_config_path("lb1").with_file_name("status-page.png");
    browse(lab, at, &format!("--screenshot={} --window-size=1280,1500", file.display()))?;
    let picture = std::fs::read(&file).context("no picture was taken")?;
    ensure!(picture.starts_with(b"\x89PNG") && picture.len() > 30_000, "{} bytes", picture.len());
    if let Some(folder) = std::env::var_os(PICTURES_VARIABLE) {
        std::fs::copy(&file, Path::new(&folder).join("status-page.png"))?;
    }
    Ok(())
}

/// All queries of the dashboard, as Grafana asks them.
fn dashboard_queries() -> Result<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/grafana/lbctl.json");
    let dashboard: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries = targets.filter_map(|target| target["expr"].as_str()).map(|text| {
        let text = text.replace("$__rate_interval", "30s").replace("$__range", "1m");
        ["$job", "$instance", "$service"].iter().fold(text, |text, name| text.replace(name, ".*"))
    });
    Ok(queries.collect())
}

/// Goes through services of every mode, so that there is something to draw.
fn use_everything(lab: &Lab) -> Result<()> {
    let [vip, _] = vip_a();
    let pages = format!(
        "curl -sf -o /dev/null http://{vip}/; curl -skf -o /dev/null https://{vip}/; \
         curl -skf -o /dev/null https://{vip}:8443/; curl -sf -o /dev/null http://10.80.0.102/; true"
    );
    client_shell(lab, &pages)?;
    let mut session = Client::open(lab, 3306)?;
    session.ask("SELECT COUNT(*) FROM notes.notes;")?;
    session.close().map(drop)
}

fn the_dashboards_queries_have_answers(lab: &Lab) -> Result<()> {
    let queries = dashboard_queries()?;
    ensure!(queries.len() > 50, "no dashboard: {} queries", queries.len());
    ensure!(
        queries.iter().all(|query| !query.contains('$')),
        "a variable that Grafana alone knows: {queries:?}"
    );
    for node in ["lb1", "lb2"] {
        let rule = ["firewall", "rule", "add", "banned", "--deny", "198.51.100.0/24", "--service", "web"];
        crate::client::lbctl_on(lab, node, &rule)?;
    }
    let mut left = queries;
    // What happens for the first time has a rate when it happens again.
    poll::until("each query of the dashboard has an answer", 4 * PATIENCE, || {
        use_everything(lab)?;
        let mut silent = Vec::new();
        for one in std::mem::take(&mut left) {
            if query(lab, &one)?.is_empty() {
                silent.push(one);
            }
        }
        left = silent;
        ensure!(left.is_empty(), "nothing for {left:#?}");
        Ok(())
    })
}

fn well_formed(figures: &str) -> Result<()> {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = promtool.spawn().context("promtool")?;
    child.stdin.take().context("its input")?.write_all(figures.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    Ok(())
}

#[test]
fn the_rules_fire_when_they_should_and_not_otherwise() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/prometheus");
    let mut promtool = Command::new("promtool");
    let output = promtool.args(["test", "rules", "alerts-test.yml"]).current_dir(folder).output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

/// A place that is somebody else's is said, and nothing else is the worse for it.
fn wrong_places_are_told(lab: &Lab) -> Result<()> {
    let text = lab.agent_config("lb1")?.replace("10.80.0.2:9788", "10.80.0.99:9788");
    lab.write_agent_config("lb1", &text)?;
    lbctl(lab, &["apply"])?;
    poll::until("it is told that nobody can collect", PATIENCE, || {
        let said = lbctl(lab, &["status"])?;
        ensure!(said.contains("nobody can collect figures at 10.80.0.99:9788"), "{said}");
        Ok(())
    })
}
