//! What to try in a lab that is up: commands that work when pasted into another terminal.

use std::fmt::Write as _;
use std::path::Path;

use super::addresses::{VIP_A, VIP_B, VIP_DIRECT, vip};
use super::certificates;
use super::state::Setup;

/// The summary for a lab made with this set-up, and that ends in this way.
pub fn summary(setup: &Setup, end: &str) -> String {
    let lbctl = setup.lbctl.as_deref().map(|binary| lbctl_command(binary, &installed_lbctl(), has_sudo()));
    format!("\nThe lab is up; {end}. In another terminal:\n{}", summary_text(setup, lbctl.as_deref()))
}

fn summary_text(setup: &Setup, lbctl: Option<&str>) -> String {
    let mut text = String::new();
    if setup.agents {
        traffic_through_vips(&mut text, setup.database);
    } else {
        section(&mut text, "traffic, straight to a web server (no agents in this lab)");
        client(&mut text, "curl -si http://10.80.0.21/");
        client(&mut text, "curl -si 'http://[fd80::22]/'");
        if setup.database && setup.app_database.is_some() {
            client(&mut text, "curl -s http://10.80.0.21/api/notes");
        }
    }
    if let (true, Some(lbctl)) = (setup.agents, lbctl) {
        section(
            &mut text,
            "the load balancer lb1 (VIP A); `--socket /run/lbctl/lb2.sock` speaks to lb2 (VIP B)",
        );
        for arguments in [
            "status",
            "backend list web",
            "backend drain web web1      # no new connections to web1",
            "backend ready web web1      # and back",
            "backend set web web1 --weight 3",
            "backend del web web2",
            "backend add web web2 --address 10.80.0.22:80 --address '[fd80::22]:80'",
            "flow list",
            "mysql nodes                # who takes writes, who answers reads",
            "mysql routes               # what was sent where, and why",
            "events -f",
        ] {
            let _ = writeln!(text, "    {lbctl} {arguments}");
        }
    }
    if let (true, true, Some(lbctl)) = (setup.agents, setup.failover, lbctl) {
        failover_drill(&mut text, lbctl);
    }
    section(&mut text, "looking closer");
    for arguments in
        ["status", "logs web1 -f", "capture lb1        # packets of lb1, to a file", "exec web1 -- ss -tn"]
    {
        let _ = writeln!(text, "    cargo xtask lab {arguments}");
    }
    if let (true, Some(lbctl)) = (setup.agents, lbctl) {
        section(&mut text, "both nodes, side by side, on one screen (`--write` to act there)");
        let _ = writeln!(text, "    {lbctl} tui");
    }
    text
}

fn failover_drill(text: &mut String, lbctl: &str) {
    section(text, "a failover drill: a download that notices nothing, and ways for lb1 to go while it runs");
    let [a4, _] = vip(VIP_A);
    client(text, &format!("curl -o /dev/null --limit-rate 5M http://{a4}/files/zeros"));
    for (arguments, words) in [
        ("vrrp status", "who serves which VIP"),
        ("sync", "whether the other node has the open connections"),
        ("vrrp failover A", "lb2 serves VIP A, too"),
        ("--socket /run/lbctl/lb2.sock vrrp failover A", "and back"),
    ] {
        let _ = writeln!(text, "    {lbctl} {arguments}   # {words}");
    }
    for (arguments, words) in [
        ("exec router -- ip link set p-lb1 down", "lb1 is cut off"),
        ("exec router -- ip link set p-lb1 up", "and back"),
    ] {
        let _ = writeln!(text, "    cargo xtask lab {arguments}   # {words}");
    }
}

fn traffic_through_vips(text: &mut String, database: bool) {
    section(text, "traffic: VIP A (lb1) and VIP B (lb2), IPv4 and IPv6");
    let [a4, a6] = vip(VIP_A);
    let [b4, b6] = vip(VIP_B);
    for url in [
        format!("http://{a4}/"),
        format!("http://[{a6}]/"),
        format!("http://{b4}/"),
        format!("http://[{b6}]/"),
    ] {
        client(text, &format!("curl -si '{url}'"));
    }
    let [d4, d6] = vip(VIP_DIRECT);
    for url in [format!("http://{d4}/"), format!("http://[{d6}]/")] {
        client(text, &format!("curl -si '{url}'   # mode dsr: X-Client is the client's own address"));
    }
    let authority = certificates::authority_certificate();
    for url in [format!("https://{a4}/"), format!("https://[{b6}]/")] {
        client(text, &format!("curl -si --cacert {} '{url}'   # TLS ends at the nodes", authority.display()));
    }
    client(text, &format!("curl -si --cacert {} https://{a4}:8443/   # at nginx", authority.display()));
    if database {
        client(text, &format!("curl -s {a4}/api/notes --json '{{\"text\":\"hello\"}}'"));
        client(text, &format!("curl -s {b4}/api/notes"));
    }
}

fn section(text: &mut String, title: &str) {
    let _ = writeln!(text, "\n  {title}");
}

fn client(text: &mut String, command: &str) {
    let _ = writeln!(text, "    cargo xtask lab exec client -- {command}");
}

/// How a person calls `lbctl`: by its bare name only where that finds the installed one.
fn lbctl_command(binary: &Path, installed: &Option<String>, sudo: bool) -> String {
    let program = installed.clone().unwrap_or_else(|| binary.display().to_string());
    if sudo { format!("sudo {program}") } else { program }
}

/// The bare name, when `lbctl` lies where both an ordinary search path and sudo's look.
fn installed_lbctl() -> Option<String> {
    let folders = ["/usr/local/bin", "/usr/bin"];
    folders.iter().any(|folder| Path::new(folder).join("lbctl").is_file()).then(|| "lbctl".to_owned())
}

fn has_sudo() -> bool {
    super::programs::find("sudo").is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> Setup {
        Setup { agents: true, database: true, ..Setup::default() }
    }

    #[test]
    fn an_lbctl_that_is_not_installed_is_called_by_its_path() {
        let binary = Path::new("/home/me/target/debug/lbctl");
        assert_eq!(lbctl_command(binary, &None, true), "sudo /home/me/target/debug/lbctl");
        assert_eq!(lbctl_command(binary, &Some("lbctl".into()), true), "sudo lbctl");
        assert_eq!(lbctl_command(binary, &Some("lbctl".into()), false), "lbctl");
    }

    #[test]
    fn every_vip_is_offered() {
        let text = summary_text(&setup(), Some("sudo lbctl"));
        for url in
            ["http://10.80.0.100/", "http://[fd80::100]/", "http://10.80.0.101/", "http://[fd80::101]/"]
        {
            assert!(text.contains(&format!("cargo xtask lab exec client -- curl -si '{url}'")), "{url}");
        }
        assert!(text.contains("sudo lbctl backend drain web web1"));
    }

    #[test]
    fn the_last_line_is_the_one_to_begin_with() {
        let setup = Setup { failover: true, ..setup() };
        assert!(summary_text(&setup, Some("sudo lbctl")).ends_with("\n    sudo lbctl tui\n"));
    }

    #[test]
    fn nothing_is_offered_that_is_not_there() {
        let without_database = summary_text(&Setup { database: false, ..setup() }, None);
        assert!(!without_database.contains("notes") && !without_database.contains("drain"));
        let without_agents = summary_text(&Setup { agents: false, ..setup() }, Some("lbctl"));
        assert!(!without_agents.contains("10.80.0.100") && !without_agents.contains("drain"));
    }

    #[test]
    fn a_failover_drill_is_offered_where_vips_move() {
        let text = summary_text(&Setup { failover: true, ..setup() }, Some("sudo lbctl"));
        assert!(text.contains("sudo lbctl vrrp failover A") && text.contains("ip link set p-lb1 down"));
        assert!(!summary_text(&setup(), Some("sudo lbctl")).contains("failover"));
    }
}
