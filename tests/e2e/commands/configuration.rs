//! The configuration as a whole: SIGHUP, `check`, `diff` and `apply`.

use crate::client::{PATIENCE, Said, ask_times, lbctl, lbctl_json, shares, try_lbctl, vip_a, web_lab, whole};
use anyhow::{Context as _, Result, ensure};
use lb_user::api::{ApplyReport, BackendView, Event, EventKind, Status};
use lbctl_tests::lab::{Lab, poll};
use nix::sys::signal::Signal;
use std::path::Path;

const WEB2: &str = "name = \"web2\"\naddress = [\"10.80.0.22:80\", \"[fd80::22]:80\"]\n";

#[test]
fn files_are_checked_compared_and_applied_and_a_wrong_one_changes_nothing() -> Result<()> {
    let lab = web_lab()?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("new.toml");
    let original = lab.agent_config("lb1")?;
    // That of `web`; another service has one like it further down.
    ensure!(original.contains(WEB2), "another file:\n{original}");
    check_names_file_line_path_and_way_out(&lab, &file, &original)?;
    sighup_applies_the_difference(&lab, &original)?;
    sighup_with_a_wrong_file_changes_nothing(&lab, &original)?;
    a_dry_run_changes_nothing(&lab, &file, &original)?;
    what_needs_a_restart_waits_and_the_rest_is_applied(&lab, &file, &original)?;
    lab.down()
}

/// The file with this behind web2's address.
fn with_web2(original: &str, line: &str) -> String {
    original.replacen(WEB2, &format!("{WEB2}{line}\n"), 1)
}

fn line_of(text: &str, part: &str) -> Result<usize> {
    let at = text.lines().position(|line| line.contains(part));
    Ok(1 + at.with_context(|| format!("no line has {part:?}"))?)
}

fn weight(lab: &Lab, backend: &str) -> Result<String> {
    let view: BackendView = lbctl_json(lab, &["backend", "show", "web", backend])?;
    Ok(view.weight.to_string())
}

fn events(lab: &Lab) -> Result<Vec<Event>> {
    lbctl(lab, &["-o", "json", "events"])?.lines().map(whole).collect()
}

fn wait_for_event(lab: &Lab, kind: EventKind, words: &str) -> Result<Event> {
    poll::until(&format!("an event says {words:?}"), PATIENCE, || {
        let events = events(lab)?;
        let found = events.iter().find(|event| event.kind == kind && event.message.contains(words));
        found.cloned().with_context(|| format!("{:?}", events.last()))
    })
}

fn check_names_file_line_path_and_way_out(lab: &Lab, file: &Path, original: &str) -> Result<()> {
    let name = file.display();
    let web2_address = "address = [\"10.80.0.22:80\", \"[fd80::22]:80\"]";
    let without_port = original.replacen(web2_address, "address = [\"10.80.0.22\", \"[fd80::22]:80\"]", 1);
    let cases = [
        (
            without_port.clone(),
            line_of(&without_port, "\"10.80.0.22\"")?,
            "12: service.web.backend[1].address[0]: \"10.80.0.22\" has no port; \
             expected IP:PORT such as \"10.80.0.22:80\"",
        ),
        (
            with_web2(original, "wieght = 2"),
            1 + line_of(original, "10.80.0.22:80")?,
            "1: service.web.backend[1].wieght: unknown key \"wieght\"; did you mean \"weight\"?",
        ),
        (
            with_web2(original, "weight = 257"),
            1 + line_of(original, "10.80.0.22:80")?,
            "10: service.web.backend[1].weight: 257 is too large; expected a whole number from 0 to 256",
        ),
        (
            original.replacen("mode = \"nat\"", "mode = \"mysqll\"", 1),
            line_of(original, "mode = \"nat\"")?,
            "8: service.web.mode: \"mysqll\" is not a mode; expected one of nat, dsr, tcp, tls, redirect-https, mysql; did you mean \"mysql\"?",
        ),
        (
            original.replacen("vips = [\"A\", \"B\"]", "vips = [\"a\", \"B\"]", 1),
            line_of(original, "vips = [\"A\", \"B\"]")?,
            "9: service.web.vips[0]: there is no VIP \"a\"; expected one of A, B, direct; did you mean \"A\"?",
        ),
    ];
    for (text, line, words) in cases {
        std::fs::write(file, text)?;
        let said = try_lbctl(lab, &["check", &name.to_string()])?;
        assert_eq!(said.err.lines().next(), Some(format!("lbctl: {name}:{line}:{words}").as_str()));
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
        // The running agent says the same, and takes none of it.
        let refused = try_lbctl(lab, &["apply", &name.to_string()])?;
        assert_eq!(refused, said);
    }
    assert_eq!(lab.agent_config("lb1")?, original);
    Ok(())
}

fn sighup_applies_the_difference(lab: &Lab, original: &str) -> Result<()> {
    lab.write_agent_config("lb1", &with_web2(original, "weight = 4"))?;
    lab.kill_agent("lb1", Signal::SIGHUP)?;
    wait_for_event(lab, EventKind::ConfigChanged, "service web: backend web2: weight 1 → 4")?;
    assert_eq!(weight(lab, "web2")?, "4");
    for vip in vip_a() {
        let answers = ask_times(lab, vip, 10)?;
        ensure!(shares(&answers).get("web2") == Some(&8), "VIP {vip}: {:?}", shares(&answers));
    }
    lab.kill_agent("lb1", Signal::SIGHUP)?;
    wait_for_event(lab, EventKind::ConfigChanged, "reload: the file changes nothing").map(drop)
}

fn sighup_with_a_wrong_file_changes_nothing(lab: &Lab, original: &str) -> Result<()> {
    let pid = lbctl_json::<Status>(lab, &["status"])?.pid;
    let wrong = with_web2(original, "weight = -1").replacen("port = 80\n", "port = 90\n", 1);
    let place = format!(
        "{}:{}:10: service.web.backend[1].weight: ",
        lab.agent_config_path("lb1").display(),
        line_of(&wrong, "weight = -1")?
    );
    lab.write_agent_config("lb1", &wrong)?;
    lab.kill_agent("lb1", Signal::SIGHUP)?;
    let event = wait_for_event(lab, EventKind::ConfigRefused, &place)?;
    ensure!(event.message.starts_with("reload refused, the running configuration stays: "), "{event:?}");
    // Neither is taken over, not even what was right about it.
    assert_eq!(weight(lab, "web2")?, "4");
    let answers = ask_times(lab, vip_a()[0], 10)?;
    ensure!(shares(&answers).get("web2") == Some(&8), "{:?}", shares(&answers));
    // A change would go into the file, which is wrong: it is refused, and the file stays as it is.
    let refused = try_lbctl(lab, &["backend", "set", "web", "web1", "--weight", "2"])?;
    ensure!(refused.code == Some(1) && refused.err.contains(&place), "not at {place}: {refused:?}");
    assert_eq!(lab.agent_config("lb1")?, wrong);
    assert_eq!(weight(lab, "web1")?, "1");
    std::fs::remove_file(lab.agent_config_path("lb1"))?;
    lab.kill_agent("lb1", Signal::SIGHUP)?;
    wait_for_event(lab, EventKind::ConfigRefused, "No such file")?;
    assert_eq!(lbctl_json::<Status>(lab, &["status"])?.pid, pid);
    lab.write_agent_config("lb1", original)?;
    let taken = "service web: backend web2: weight 4 → 1\napplied\n";
    assert_eq!(lbctl(lab, &["apply"])?, taken);
    Ok(())
}

fn a_dry_run_changes_nothing(lab: &Lab, file: &Path, original: &str) -> Result<()> {
    std::fs::write(file, with_web2(original, "weight = 2"))?;
    let name = file.display().to_string();
    let words = "service web: backend web2: weight 1 → 2\n";
    let wanted = Said { code: Some(10), out: words.into(), err: String::new() };
    assert_eq!(try_lbctl(lab, &["diff", &name])?, wanted);
    assert_eq!(try_lbctl(lab, &["apply", &name, "--dry-run"])?, wanted);
    assert_eq!(weight(lab, "web2")?, "1");
    assert_eq!(lab.agent_config("lb1")?, original);
    assert_eq!(lbctl(lab, &["apply", &name])?, format!("{words}applied and saved\n"));
    assert_eq!(weight(lab, "web2")?, "2");
    assert_eq!(lab.agent_config("lb1")?, with_web2(original, "weight = 2"));
    let none = Said { code: Some(0), out: "nothing to change\n".into(), err: String::new() };
    assert_eq!(try_lbctl(lab, &["diff", &name])?, none);
    assert_eq!(try_lbctl(lab, &["diff"])?, none);
    Ok(())
}

fn what_needs_a_restart_waits_and_the_rest_is_applied(lab: &Lab, file: &Path, original: &str) -> Result<()> {
    const LIVE: &str = "service web: backend web2: weight 2 → 6";
    const SIZE: &str = "dataplane: established_flows 262144 → 131072";
    const SOCKET: &str = "control: others_may_read false → true";
    let text = with_web2(original, "weight = 6")
        .replace("[dataplane]\n", "[dataplane]\nestablished_flows = 131072\n")
        .replace("[control]\n", "[control]\nothers_may_read = true\n");
    std::fs::write(file, &text)?;
    let report: ApplyReport = lbctl_json(lab, &["apply", &file.display().to_string()])?;
    let sorted = |mut list: Vec<String>| {
        list.sort();
        list
    };
    assert_eq!(sorted(report.changes), [SOCKET, SIZE, LIVE]);
    assert_eq!(sorted(report.need_restart), [SOCKET, SIZE]);
    assert_eq!((report.applied, report.saved), (true, true));
    assert_eq!(weight(lab, "web2")?, "6");
    assert_eq!(lab.agent_config("lb1")?, text);
    let diff = try_lbctl(lab, &["diff"])?;
    let mut lines: Vec<&str> = diff.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, [SOCKET, SIZE].map(|change| format!("{change}  (needs a restart of the agent)")));
    assert_eq!(diff.code, Some(10));
    let status: Status = lbctl_json(lab, &["status"])?;
    for change in [SOCKET, SIZE] {
        let words = format!("waits for a restart of the agent: {change}");
        ensure!(status.warnings.contains(&words), "{:?}", status.warnings);
    }
    lab.kill_agent("lb1", Signal::SIGTERM)?;
    lab.start_agent("lb1")?;
    assert_eq!(lbctl(lab, &["diff"])?, "nothing to change\n");
    let status: Status = lbctl_json(lab, &["status"])?;
    // The tables that are there keep their size until `lbctl detach`, and the agent says so.
    let told = status.warnings.iter().any(|warning| warning.contains("lbctl detach"));
    let capacity = status.tables.iter().find(|table| table.name == "established").map(|table| table.capacity);
    ensure!(told && capacity == Some(2 * 262_144), "{capacity:?}, {:?}", status.warnings);
    assert_eq!(weight(lab, "web2")?, "6");
    Ok(())
}
