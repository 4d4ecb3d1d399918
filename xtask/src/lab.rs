//! `cargo xtask run`, `lab` and `bench`: build as the user, then become the lab as root.
//!
//! Owns what the lab needs before it can start (packages, binaries). Never talks to a running lab:
//! the process is replaced by the lab's, so Ctrl-C and the exit code are the lab's own.

use std::ffi::OsString;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;

use crate::packages::{self, Consent, Package};
use crate::{process, project};

const LAB: &[Package] = &[
    Package::program("iproute2", "ip"),
    Package::program("ethtool", "ethtool"),
    Package::program("nginx", "nginx").with_service("nginx"),
    Package::program("dnsmasq-base", "dnsmasq"),
    Package::program("openssl", "openssl"),
    Package::program("curl", "curl"),
    Package::program("tcpdump", "tcpdump"),
    Package::program("procps", "ps"),
    Package::program("iputils-ping", "ping"),
];
const DATABASE: &[Package] = &[Package::program("mariadb-server", "mariadbd").with_service("mariadb")];
const TESTS: &[Package] = &[
    Package::program("wrk", "wrk"),
    Package::program("tshark", "tshark"),
    Package::program("haproxy", "haproxy").with_service("haproxy"),
    Package::program("keepalived", "keepalived").with_service("keepalived"),
    Package::program("pebble", "pebble"),
    Package::program("prometheus", "promtool").with_service("prometheus"),
    Package::program("tmux", "tmux"),
    Package::program("chromium", "chromium"),
    Package::program("systemd-container", "systemd-nspawn"),
    // For libFuzzer.
    Package::program("g++", "c++"),
];
const BENCH: &[Package] = &[
    Package::program("haproxy", "haproxy").with_service("haproxy"),
    Package::program("wrk", "wrk"),
    Package::program("nftables", "nft"),
    Package::program("sysbench", "sysbench"),
    Package::named("libnginx-mod-stream"),
    Package::program("keepalived", "keepalived").with_service("keepalived"),
];

/// The benchmarks there are.
const BENCHMARKS: [(&str, &str); 7] = [
    ("xdp", "ns per packet of the XDP program; requests, connections and CPU in the lab against HAProxy"),
    ("firewall", "what rules cost; drops a second against nftables and an empty program; changes of rules"),
    ("flood", "floods of SYNs, ACKs, fragments, ICMP errors and pings, against HAProxy"),
    ("tls", "the end of TLS against HAProxy and nginx: handshakes, requests, bulk, memory"),
    ("proxy", "the userspace proxy against HAProxy, nginx's stream module and no proxy at all"),
    ("mysql", "sessions of databases with sysbench, against HAProxy and the primary itself"),
    (
        "failover",
        "for how long a VIP is silent when its node goes, and connections lost, against keepalived and HAProxy",
    ),
];

/// Arguments of `cargo xtask run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Leave out the database servers: starts faster
    #[arg(long)]
    without_db: bool,
    /// Install what is missing without asking
    #[arg(long, short)]
    yes: bool,
}

/// Arguments of `cargo xtask lab`.
#[derive(Debug, Args)]
pub(crate) struct Lab {
    /// What the lab is to do: up --detach, down, exec HOST -- CMD, capture HOST, logs HOST …
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    arguments: Vec<OsString>,
}

/// Arguments of `cargo xtask bench`.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Which benchmark; without one the names are listed
    name: Option<String>,
    /// Further arguments, as the benchmark knows them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

impl Run {
    pub(crate) fn run(self) -> Result<()> {
        let start = Instant::now();
        install_packages(!self.without_db, Consent::from_yes(self.yes))?;
        println!("Building lbctl and the lab (the first time takes minutes) …");
        build(false)?;
        println!("Built after {:.0} s. Starting the lab.", start.elapsed().as_secs_f64());
        let mut arguments = vec![OsString::from("run")];
        if self.without_db {
            arguments.push("--without-db".into());
        }
        become_lab(&arguments)
    }
}

impl Lab {
    pub(crate) fn run(self) -> Result<()> {
        if self.arguments.first().is_some_and(|word| word == "up" || word == "run") {
            let with_database = !self.arguments.iter().any(|word| word == "--without-db");
            install_packages(with_database, Consent::Ask)?;
        }
        build(true)?;
        become_lab(&self.arguments)
    }
}

impl Bench {
    pub(crate) fn run(self) -> Result<()> {
        let Some(name) = self.name else {
            println!("Benchmarks:");
            for (name, about) in BENCHMARKS {
                println!("  cargo xtask bench {name:<8} {about}");
            }
            return Ok(());
        };
        let wanted = [LAB, DATABASE, BENCH].concat();
        packages::install_missing("the benchmarks", &wanted, Consent::Ask)?;
        build(false)?;
        let mut arguments = vec![OsString::from("bench"), OsString::from(name)];
        arguments.extend(self.arguments);
        become_lab(&arguments)
    }
}

/// Installs what the lab needs.
pub(crate) fn install_packages(with_database: bool, consent: Consent) -> Result<()> {
    let database = if with_database { DATABASE } else { &[] };
    packages::install_missing("the lab", &[LAB, database].concat(), consent)
}

/// Installs what the tests need: the lab, load, the peers that they are tested with, and what the fuzz targets are compiled with.
pub(crate) fn install_test_packages(consent: Consent) -> Result<()> {
    packages::install_missing("the tests", &[LAB, DATABASE, TESTS].concat(), consent)
}

/// Builds `lbctl`, `lab` and `lab-app` as the user who called us.
pub(crate) fn build(quiet: bool) -> Result<()> {
    let mut cargo = project::cargo();
    cargo.args(["build", "--release", "--package", "lb-user", "--package", "lbctl-tests", "--bins"]);
    if quiet {
        cargo.arg("--quiet");
    }
    process::run(&mut cargo).context("lbctl does not build")
}

fn become_lab(arguments: &[OsString]) -> Result<()> {
    let mut lab = process::as_root(project::release_program("lab"), &kept_variables())?;
    lab.args(arguments);
    process::exec(lab)
}

/// What sudo would drop but the lab wants to know.
pub(crate) fn kept_variables() -> Vec<(&'static str, OsString)> {
    [
        "LBCTL_SOCKET",
        "LBCTL_FRESH_OBJECT_DIR",
        "LBCTL_PICTURES",
        "RUST_LOG",
        "RUST_BACKTRACE",
        "NO_COLOR",
        "TERM",
        "CI",
    ]
    .into_iter()
    .filter_map(|key| Some((key, std::env::var_os(key)?)))
    .collect()
}
