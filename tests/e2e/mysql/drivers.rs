//! Clients in Python, with the libraries that are installed for tests.

use anyhow::{Context as _, Result, ensure};
use lbctl_tests::lab::Lab;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Names the Python that has clients of databases.
const VARIABLE: &str = "LBCTL_PYTHON";

/// That Python, on web1.
pub(super) fn python_on(lab: &Lab) -> Result<Command> {
    let python =
        std::env::var(VARIABLE).with_context(|| format!("{VARIABLE} has to name a Python with clients"))?;
    Ok(lab.host("web1").command(&python))
}

/// What a script says; it has to go well.
pub(super) fn python(lab: &Lab, script: &str) -> Result<String> {
    let mut child = python_on(lab)?
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("python")?;
    child.stdin.take().context("its input")?.write_all(script.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
