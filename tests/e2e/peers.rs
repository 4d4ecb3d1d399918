//! Who may speak to the agent, tried as somebody else.

use anyhow::{Result, bail, ensure};
use lbctl_tests::lab::Lab;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

/// `lbctl` as whoever these words of setpriv make: its exit code and what it said of errors.
fn lbctl_as(lab: &Lab, who: &str, words: &[&str]) -> Result<(Option<i32>, String)> {
    let lbctl = lab.lbctl("lb1")?;
    // They may have no right to where it was built.
    let folder = tempfile::tempdir()?;
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
    let copy = folder.path().join("lbctl");
    std::fs::copy(lbctl.get_program(), &copy)?;
    let mut command = std::process::Command::new("setpriv");
    command.args(who.split(' ')).arg(&copy).args(lbctl.get_args()).args(words).current_dir("/");
    let output = command.output()?;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

fn may(lab: &Lab, who: &str, words: &[&str]) -> Result<bool> {
    let (code, error) = lbctl_as(lab, who, words)?;
    match code {
        Some(0) => Ok(true),
        // The socket file is closed to them, or the agent is.
        Some(3) => {
            ensure!(error.contains("lbctl: ") && error.contains("you may not open it"), "{who}: {error}");
            Ok(false)
        }
        Some(5) => {
            ensure!(error.contains("you may not"), "{who}: {error}");
            Ok(false)
        }
        code => bail!("{who}: {words:?}: code {code:?}: {error}"),
    }
}

/// Whether they may look.
pub(crate) fn can_read(lab: &Lab, who: &str) -> Result<bool> {
    may(lab, who, &["status"])
}

/// Whether they may change something.
pub(crate) fn can_write(lab: &Lab, who: &str) -> Result<bool> {
    may(lab, who, &["backend", "set", "web", "web1", "--weight", "6"])
}
