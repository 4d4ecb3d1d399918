//! A certificate authority of the lab's own and one certificate for the web service.
//!
//! Made anew for every lab, kept in the lab's folder, trusted by nobody else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::addresses::{VIP_A, VIP_B, vip};
use super::{paths, programs};

fn folder() -> PathBuf {
    Path::new(paths::STATE_DIR).join("ca")
}

/// The authority's certificate, for clients.
pub(super) fn authority_certificate() -> PathBuf {
    folder().join("ca.pem")
}

/// The web service's certificate.
pub(super) fn certificate() -> PathBuf {
    folder().join("web.pem")
}

/// The web service's private key.
pub(super) fn key() -> PathBuf {
    folder().join("web.key")
}

/// Makes authority, key and certificate.
pub(super) fn create() -> Result<()> {
    let folder = folder();
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let openssl = programs::find("openssl")?;
    let new_key =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"];
    let request = |subject: &str| {
        let mut command = Command::new(&openssl);
        command.current_dir(&folder).args(new_key).args(["-subj", subject]);
        command
    };
    programs::run(
        request("/CN=lbctl lab authority")
            .args(["-keyout", "ca.key", "-out", "ca.pem"])
            .args(["-addext", "keyUsage=critical,keyCertSign,cRLSign"]),
    )
    .context("making the lab's certificate authority")?;
    programs::run(
        request("/CN=web")
            .args(["-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", "web.key", "-out", "web.pem"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-addext", "extendedKeyUsage=serverAuth"])
            .args(["-addext", &alternative_names()]),
    )
    .context("making the web service's certificate")?;
    Ok(())
}

fn alternative_names() -> String {
    let addresses = [vip(VIP_A), vip(VIP_B)].concat();
    let addresses: Vec<String> = addresses.iter().map(|ip| format!("IP:{ip}")).collect();
    format!("subjectAltName=DNS:web,{}", addresses.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_is_good_for_the_name_and_all_vips() {
        let expected = "subjectAltName=DNS:web,IP:10.80.0.100,IP:fd80::100,IP:10.80.0.101,IP:fd80::101";
        assert_eq!(alternative_names(), expected);
    }
}
