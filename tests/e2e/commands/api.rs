//! The control API as documented, asked by curl; and who may ask.

use crate::client::{Said, web_lab, whole};
use anyhow::{Context as _, Result, ensure};
use lb_user::api::{ApiError, ApplyReport, BackendView, ErrorKind, ServiceView, Snapshot, Status};
use lbctl_tests::lab::Lab;
use nix::sys::signal::Signal;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const WEB1: &str = "/v1/services/web/backends/web1";

#[test]
fn the_api_answers_curl_as_documented_and_only_those_who_may() -> Result<()> {
    let lab = web_lab()?;
    looks_and_changes_are_answered(&lab)?;
    mistakes_are_answered_with_kind_and_words(&lab)?;
    let folder = tempfile::tempdir()?;
    let lbctl = copy_for_everybody(&lab, folder.path())?;
    without_further_rights_others_do_not_get_in(&lab, &lbctl)?;
    others_may_read_when_the_file_says_so(&lab, &lbctl)?;
    members_of_the_group_may_write(&lab, &lbctl)?;
    lab.down()
}

/// Users and groups that every machine has; none of them is root.
#[derive(Clone, Copy)]
enum As {
    Root,
    Nobody,
    Daemon,
}

fn as_user(who: As, program: &Path) -> Command {
    let group = match who {
        As::Root => return Command::new(program),
        As::Nobody => "--regid=65534",
        As::Daemon => "--regid=daemon",
    };
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", group, "--clear-groups"]).arg(program);
    command
}

fn curl(lab: &Lab, who: As, arguments: &[&str], path: &str) -> Result<Said> {
    let mut command = as_user(who, Path::new("curl"));
    command.args(["-sS", "--max-time", "10", "-w", "\n%{http_code}", "--unix-socket"]);
    command.arg(lab.agent_socket("lb1")).args(arguments).arg(format!("http://lbctl{path}"));
    Said::by(&mut command)
}

/// The status and the body of an answer.
fn asked(lab: &Lab, who: As, arguments: &[&str], path: &str) -> Result<(u16, String)> {
    let said = curl(lab, who, arguments, path)?;
    ensure!(said.code == Some(0), "{path}: {said:?}");
    let (body, status) = said.out.rsplit_once('\n').context("no status")?;
    Ok((status.parse()?, body.to_owned()))
}

fn get<T: serde::de::DeserializeOwned + serde::Serialize>(lab: &Lab, path: &str) -> Result<T> {
    let (status, body) = asked(lab, As::Root, &[], path)?;
    ensure!(status == 200, "{path}: {status} {body}");
    whole(&body)
}

fn report(lab: &Lab, arguments: &[&str], path: &str) -> Result<ApplyReport> {
    let (status, body) = asked(lab, As::Root, arguments, path)?;
    ensure!(status == 200, "{path}: {status} {body}");
    whole(&body)
}

fn done(change: &str, saved: bool) -> ApplyReport {
    ApplyReport {
        changes: vec![change.to_owned()],
        need_restart: vec![],
        applied: true,
        saved,
        confirm_within_seconds: None,
    }
}

fn looks_and_changes_are_answered(lab: &Lab) -> Result<()> {
    let status: Status = get(lab, "/v1/status")?;
    assert_eq!((status.node.as_str(), status.services), ("lb1", 5));
    let services: Vec<ServiceView> = get(lab, "/v1/services")?;
    let names: Vec<_> = services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["dns", "web", "web-direct", "web-passthrough", "web-tls"]);
    let snapshot: Snapshot = get(lab, "/v1/snapshot")?;
    assert_eq!((&snapshot.status.node, snapshot.services.len()), (&status.node, services.len()));
    let file = lab.agent_config("lb1")?;

    let runtime_only = format!("{WEB1}?runtime_only=true");
    let heavier = report(lab, &["-X", "PATCH", "--json", "{\"weight\": 3}"], &runtime_only)?;
    assert_eq!(heavier, done("service web: backend web1: weight 1 → 3", false));
    assert_eq!(get::<BackendView>(lab, WEB1)?.weight.to_string(), "3");
    assert_eq!(lab.agent_config("lb1")?, file);

    let web3 = "{\"name\": \"web3\", \"address\": [\"10.80.0.23:80\", \"[fd80::23]:80\"]}";
    let added = report(lab, &["--json", web3], "/v1/services/web/backends")?;
    ensure!(added.saved && added.changes.len() == 1, "{added:?}");
    ensure!(added.changes[0].starts_with("service web: backend web3"), "{added:?}");
    ensure!(lab.agent_config("lb1")?.contains("name = \"web3\"\n"), "the file has it not");
    let (status, body) = asked(lab, As::Root, &["--json", web3], "/v1/services/web/backends")?;
    let message = "service \"web\" has a backend \"web3\" already";
    assert_eq!((status, whole(&body)?), (409, ApiError::new(ErrorKind::Conflict, message)));
    let removed = report(lab, &["-X", "DELETE"], "/v1/services/web/backends/web3")?;
    assert_eq!(removed, done("service web: backend web3 removed", true));
    assert_eq!(lab.agent_config("lb1")?, file);

    let dry = report(lab, &["--json", "{\"dry_run\": true}"], "/v1/config")?;
    assert_eq!(dry.changes, ["service web: backend web1: weight 3 → 1"]);
    assert_eq!((dry.applied, dry.saved), (false, false));
    let taken = report(lab, &["--json", "{}"], "/v1/config")?;
    assert_eq!(taken, done("service web: backend web1: weight 3 → 1", false));
    Ok(())
}

fn mistakes_are_answered_with_kind_and_words(lab: &Lab) -> Result<()> {
    let cases: [(&[&str], &str, u16, ErrorKind, &str); 6] = [
        (&[], "/v1/nothing", 404, ErrorKind::NotFound, "there is no GET /v1/nothing; see docs/api.md"),
        (&[], "/", 404, ErrorKind::NotFound, "there is no GET /; see docs/api.md"),
        (
            &["-X", "DELETE"],
            "/v1/status",
            405,
            ErrorKind::BadMethod,
            "/v1/status has no method DELETE; see docs/api.md",
        ),
        (&[], "/v1/services/wbe", 404, ErrorKind::NotFound, "there is no service wbe"),
        (&["-X", "PATCH", "--json", "{\"wieght\": 3}"], WEB1, 400, ErrorKind::Invalid, "wieght"),
        (&["-X", "PATCH", "--json", "{\"weight\": 257}"], WEB1, 400, ErrorKind::Invalid, "257"),
    ];
    for (arguments, path, wanted, kind, words) in cases {
        let (status, body) = asked(lab, As::Root, arguments, path)?;
        let error: ApiError = whole(&body)?;
        ensure!(
            (status, error.kind) == (wanted, kind) && error.message.contains(words),
            "{path}: {status} {body}"
        );
    }
    Ok(())
}

/// `lbctl` where everybody may run it: the folder of the build may be closed to others.
fn copy_for_everybody(lab: &Lab, folder: &Path) -> Result<PathBuf> {
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755))?;
    let copy = folder.join("lbctl");
    std::fs::copy(lab.setup().lbctl.as_ref().context("no lbctl")?, &copy)?;
    std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755))?;
    Ok(copy)
}

fn lbctl_as(lab: &Lab, who: As, binary: &Path, arguments: &[&str]) -> Result<Said> {
    Said::by(as_user(who, binary).arg("--socket").arg(lab.agent_socket("lb1")).args(arguments))
}

/// The kernel does not let them open the socket, so there is no answer from the agent.
fn expect_closed(lab: &Lab, who: As, lbctl: &Path) -> Result<()> {
    let refused = lbctl_as(lab, who, lbctl, &["status"])?;
    let words =
        format!("lbctl: no agent answers at {}: you may not open it: ", lab.agent_socket("lb1").display());
    ensure!(refused.code == Some(3) && refused.err.starts_with(&words), "{refused:?}");
    ensure!(refused.err.contains("sudo") && refused.err.contains("[control]"), "no way out: {refused:?}");
    let refused = curl(lab, who, &[], "/v1/status")?;
    ensure!(refused.code == Some(7), "curl got in: {refused:?}");
    Ok(())
}

fn expect_mode(lab: &Lab, wanted: u32) -> Result<()> {
    let mode = std::fs::metadata(lab.agent_socket("lb1"))?.permissions().mode() & 0o777;
    ensure!(mode == wanted, "the socket's mode is {mode:o}, not {wanted:o}");
    Ok(())
}

fn without_further_rights_others_do_not_get_in(lab: &Lab, lbctl: &Path) -> Result<()> {
    expect_mode(lab, 0o600)?;
    expect_closed(lab, As::Nobody, lbctl)?;
    expect_closed(lab, As::Daemon, lbctl)
}

fn restart_with(lab: &Lab, control: &str) -> Result<()> {
    let text = lab.agent_config("lb1")?;
    lab.write_agent_config("lb1", &text.replace("[control]\n", &format!("[control]\n{control}\n")))?;
    lab.kill_agent("lb1", Signal::SIGTERM)?;
    lab.start_agent("lb1")
}

fn may_read_only(lab: &Lab, who: As, lbctl: &Path) -> Result<()> {
    ensure!(asked(lab, who, &[], "/v1/status")?.0 == 200, "others may not read");
    let read = lbctl_as(lab, who, lbctl, &["status"])?;
    ensure!(read.code == Some(0) && read.out.starts_with("node lb1 "), "{read:?}");
    let file = lab.agent_config("lb1")?;
    let (status, body) = asked(lab, who, &["-X", "PATCH", "--json", "{\"weight\": 7}"], WEB1)?;
    let message = "you may not change things: be root, or join the group of [control] in the configuration";
    assert_eq!((status, whole(&body)?), (403, ApiError::new(ErrorKind::Forbidden, message)));
    for change in
        [&["backend", "set", "web", "web1", "--weight", "7"][..], &["service", "del", "web"], &["diff"]]
    {
        let refused = lbctl_as(lab, who, lbctl, change)?;
        let wanted = Said { code: Some(5), out: String::new(), err: format!("lbctl: {message}\n") };
        assert_eq!(refused, wanted, "{change:?}");
    }
    assert_eq!(lab.agent_config("lb1")?, file);
    assert_eq!(get::<BackendView>(lab, WEB1)?.weight.to_string(), "1");
    Ok(())
}

fn others_may_read_when_the_file_says_so(lab: &Lab, lbctl: &Path) -> Result<()> {
    restart_with(lab, "others_may_read = true")?;
    expect_mode(lab, 0o666)?;
    may_read_only(lab, As::Nobody, lbctl)
}

fn members_of_the_group_may_write(lab: &Lab, lbctl: &Path) -> Result<()> {
    restart_with(lab, "group = \"daemon\"")?;
    // Others may still read.
    may_read_only(lab, As::Nobody, lbctl)?;
    let text = lab.agent_config("lb1")?.replace("others_may_read = true\n", "");
    lab.write_agent_config("lb1", &text)?;
    restart_with(lab, "")?;
    expect_mode(lab, 0o660)?;
    expect_closed(lab, As::Nobody, lbctl)?;
    let set = lbctl_as(lab, As::Daemon, lbctl, &["backend", "set", "web", "web1", "--weight", "7"])?;
    let wanted = "service web: backend web1: weight 1 → 7\napplied and saved\n";
    assert_eq!(set, Said { code: Some(0), out: wanted.into(), err: String::new() });
    assert_eq!(get::<BackendView>(lab, WEB1)?.weight.to_string(), "7");
    Ok(())
}
