//! The agent's user writes the agent's file and works in its folders; root starts the agent. None of that makes the user root.

use super::container::Container;
use super::{FILE, expect_reload_refused};
use anyhow::{Result, ensure};

/// What only root may read or write.
const SECRET: &str = "/etc/lbctl-test-secret";
const CONTENT: &str = "root:$y$precious";

/// A file that is refused when the agent takes it over, and when root would start one with it.
fn expect_refused(container: &Container, text: &str, why: &str) -> Result<()> {
    container.write(FILE, text, "lbctl:lbctl", "0644")?;
    expect_reload_refused(container, why)?;
    let started = container.run(&format!("lbctl agent --user lbctl --config {FILE} 2>&1 || true"))?;
    ensure!(started.contains(why), "{started}");
    Ok(())
}

/// Who can write the file is the agent's user; who that is, and in which groups, the unit and the system say.
pub(super) fn a_file_cannot_have_the_agent_started_with_more(container: &Container) -> Result<()> {
    let text = container.read(FILE)?;
    let (user, group) = ("user = \"lbctl\"", "group = \"lbctl\"");
    ensure!(text.contains(user) && text.contains(group), "{text}");
    for other in ["confine = false", "user = \"root\""] {
        expect_refused(container, &text.replace(user, other), "has to be \"lbctl\"")?;
    }
    let other = text.replace(group, "group = \"disk\"");
    expect_refused(container, &other, "\"lbctl\" is not in group \"disk\"")?;
    let other = text.replace(user, &format!("{user}\nwritable = \"/\""));
    expect_refused(container, &other, "agent.writable: \"/\" is everything")?;
    container.write(FILE, &text, "lbctl:lbctl", "0644")?;
    container.run("systemctl reload lbctl")?;
    Ok(())
}

/// A link where root's start, or root's `detach`, opens a file.
pub(super) fn what_its_user_puts_in_place_of_files_is_not_followed(container: &Container) -> Result<()> {
    let text = container.read(FILE)?;
    let name = text.lines().find(|line| line.starts_with("name = ")).unwrap_or_default();
    let other = text.replacen(name, "name = \"other\"", 1);
    container.write("/etc/lbctl/other.toml", &other, "lbctl:lbctl", "0644")?;
    container.write(SECRET, CONTENT, "root:root", "0600")?;
    let link = format!("ln -s {SECRET} /run/lbctl/other.lock");
    container.run(&format!("setpriv --reuid lbctl --regid lbctl --clear-groups {link}"))?;
    for command in ["agent --user lbctl", "detach"] {
        let said = container.run(&format!("lbctl {command} --config /etc/lbctl/other.toml 2>&1 || true"))?;
        ensure!(said.contains("/run/lbctl/other.lock is there and is no file of an agent's alone"), "{said}");
        ensure!(container.read(SECRET)?.trim() == CONTENT, "{command} wrote through the link");
    }
    let owner = container.run(&format!("stat -c %U {SECRET}"))?;
    ensure!(owner.trim() == "root", "it was given away");
    container.run("rm /run/lbctl/other.lock /etc/lbctl/other.toml")?;
    // One by hand, as another user, leaves the folder to who works there.
    let other = text.replace("user = \"lbctl\"\n", "");
    container.write("/tmp/other.toml", &other, "root:root", "0644")?;
    let said = container.run("lbctl agent --config /tmp/other.toml 2>&1 || true")?;
    ensure!(said.contains("/run/lbctl is in use by an agent of user lbctl (pid "), "{said}");
    let owners = container.run("stat -c %U /run/lbctl /run/lbctl/lb1.lock; rm /tmp/other.toml")?;
    ensure!(owners == "lbctl\nlbctl\n", "{owners}");
    Ok(())
}

/// Root checks the file before the agent takes it over; what it finds goes into the journal.
pub(super) fn files_that_are_not_its_own_are_not_quoted(container: &Container) -> Result<()> {
    let text = container.read(FILE)?;
    let rule = format!("\n[[firewall.rule]]\nname = \"curious\"\ndeny = {{ file = {SECRET:?} }}\n");
    container.write(FILE, &(text.clone() + &rule), "lbctl:lbctl", "0644")?;
    expect_reload_refused(container, "a file of prefixes that is none")?;
    let journal = container.run("journalctl --unit=lbctl --no-pager")?;
    ensure!(journal.contains(&format!("{SECRET}:1: expected an address")), "{journal}");
    ensure!(!journal.contains("precious"), "{journal}");
    container.write(FILE, &text, "lbctl:lbctl", "0644")?;
    container.run(&format!("systemctl reload lbctl; rm {SECRET}"))?;
    Ok(())
}
