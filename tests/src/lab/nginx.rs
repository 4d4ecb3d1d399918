//! The web servers: real nginx, static files, TLS, PROXY protocol, and the way to the application.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, getrlimit};

use super::addresses::{self, WEBS};
use super::application::LISTEN as APPLICATION;
use super::{Host, Lab, certificates, http, paths, poll, processes, programs};

/// The name of nginx among a host's processes.
pub(super) const PROCESS: &str = "nginx";

/// The folder served as `/files/`.
pub(super) fn files_dir(host_dir: &Path) -> PathBuf {
    host_dir.join("files")
}

/// Writes both web servers' files and starts them.
pub(super) fn start_all(lab: &Lab) -> Result<()> {
    for web in WEBS {
        write_files(lab, web).with_context(|| format!("preparing nginx on {web}"))?;
        start(lab, web)?;
    }
    WEBS.iter().try_for_each(|web| wait_until_ready(lab, web))
}

/// Starts nginx on a host whose files are written.
pub(super) fn start(lab: &Lab, web: &str) -> Result<()> {
    let folder = paths::host_dir(web);
    let (folder, nginx) = (folder.display().to_string(), programs::find("nginx")?);
    let (config, errors) = (format!("{folder}/nginx.conf"), format!("{folder}/error.log"));
    processes::start(lab, web, PROCESS, &nginx, &["-p", &folder, "-c", &config, "-e", &errors])
}

/// Waits until nginx on a host answers over IPv4 and IPv6.
pub(super) fn wait_until_ready(lab: &Lab, web: &str) -> Result<()> {
    let host = Host::find(web)?;
    let addresses: [SocketAddr; 2] =
        [(addresses::ipv4_of(web), 80).into(), (addresses::ipv6_of(web), 80).into()];
    poll::until(&format!("nginx on {web} answers"), Duration::from_secs(10), || {
        processes::check_alive(lab, web, PROCESS)?;
        host.inside(|| {
            addresses.iter().try_for_each(|ip| http::expect_ok(http::get(*ip, "/healthz")?).map(drop))
        })?
    })
}

fn write_files(lab: &Lab, web: &str) -> Result<()> {
    let folder = paths::host_dir(web);
    let pages = folder.join("html");
    for needed in [&pages, &files_dir(&folder), &folder.join("temporary")] {
        fs::create_dir_all(needed).with_context(|| format!("creating {}", needed.display()))?;
    }
    let write = |path: PathBuf, text: &str| {
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    };
    // A gigabyte that takes no room: for downloads that last.
    let zeros = files_dir(&folder).join("zeros");
    let made = fs::File::create(&zeros).and_then(|file| file.set_len(1 << 30));
    made.with_context(|| format!("writing {}", zeros.display()))?;
    write(pages.join("index.html"), &index_page(web))?;
    write(pages.join("small"), &"0123456789abcde\n".repeat(64))?;
    let (_, most_files) = getrlimit(Resource::RLIMIT_NOFILE).context("reading the limit of open files")?;
    let setup = lab.setup();
    let config = config_text(web, &folder, setup.access_log, setup.database, most_files.min(65536));
    write(folder.join("nginx.conf"), &config)
}

fn index_page(web: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{web}</title></head>\n\
         <body><h1>{web}</h1><p>A static page. Notes live at <a href=\"/api/notes\">/api/notes</a>.</p></body></html>\n"
    )
}

/// The configuration, with `@NAME@` where something differs between hosts and labs.
const TEMPLATE: &str = include_str!("nginx.conf");

const API_TO_APPLICATION: &str = "proxy_pass http://application;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_connect_timeout 2s;";

const API_WITHOUT_APPLICATION: &str = "default_type application/json;
      return 503 '{\"error\":\"this lab runs without its database\"}\\n';";

/// nginx's configuration for one web server.
fn config_text(web: &str, folder: &Path, access_log: bool, application: bool, most_files: u64) -> String {
    let text = |path: PathBuf| path.display().to_string();
    let access_log = if access_log { format!("{}/access.log lab", folder.display()) } else { "off".into() };
    // Each connection to the application takes a second file.
    let connections = (most_files / 2).min(16384);
    let api = if application { API_TO_APPLICATION } else { API_WITHOUT_APPLICATION };
    let values = [
        ("@WEB@", web.to_owned()),
        ("@FOLDER@", folder.display().to_string()),
        ("@FILES@", text(files_dir(folder))),
        ("@CERTIFICATE@", text(certificates::certificate())),
        ("@KEY@", text(certificates::key())),
        ("@ACCESS_LOG@", access_log),
        ("@CONNECTIONS@", connections.to_string()),
        ("@MOST_FILES@", most_files.to_string()),
        ("@APPLICATION@", APPLICATION.to_owned()),
        ("@API@", api.to_owned()),
    ];
    values.iter().fold(TEMPLATE.to_owned(), |config, (name, value)| config.replace(name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(access_log: bool, application: bool) -> String {
        config_text("web2", Path::new("/run/x/web2"), access_log, application, 20000)
    }

    #[test]
    fn nginx_touches_nothing_outside_the_labs_folder() {
        for line in config(true, true).lines().filter(|line| line.contains("/run/") || line.contains("/var/"))
        {
            assert!(line.contains("/run/x/web2") || line.contains(paths::STATE_DIR), "{line}");
        }
    }

    #[test]
    fn nothing_in_the_template_is_left_open() {
        assert!(!config(true, true).contains('@'));
    }

    #[test]
    fn every_port_listens_on_both_families() {
        let config = config(false, true);
        for port in ["80 ", "443 ssl", "8080 proxy_protocol"] {
            assert!(config.contains(&format!("listen {port}")), "{port}");
            assert!(config.contains(&format!("listen [::]:{port}")), "{port}");
        }
    }

    #[test]
    fn the_backend_names_itself() {
        assert!(config(false, true).contains("add_header X-Backend web2 always;"));
    }

    #[test]
    fn access_logs_are_written_only_on_request() {
        assert!(config(false, true).contains("access_log off;\n  client_body"));
        assert!(config(true, true).contains("access_log /run/x/web2/access.log lab;"));
    }

    #[test]
    fn without_a_database_the_api_says_so() {
        let config = config(false, false);
        assert!(config.contains("return 503") && !config.contains("proxy_pass"));
    }

    #[test]
    fn connections_stay_below_the_limit_of_open_files() {
        assert!(config(false, true).contains("worker_connections 10000;"));
    }
}
