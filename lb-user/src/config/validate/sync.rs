//! `[sync]`: where this node and its peers are, and how long it waits.

use super::Validator;
use crate::config::file::FileSync;
use crate::config::locate::{Complaint, Path};
use crate::config::{DEFAULT_SYNC_PORT, FlowSync};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const GRACE: Duration = Duration::from_secs(3);
const GRACE_MAX: Duration = Duration::from_secs(60);
const JOIN_TIMEOUT: Duration = Duration::from_secs(30);
const JOIN_TIMEOUT_MAX: Duration = Duration::from_secs(3600);

impl Validator<'_> {
    pub(super) fn sync(&mut self, file: &FileSync) -> Option<FlowSync> {
        let path = Path::of(&["sync"]);
        let address = match &file.address {
            Some(text) => self.sync_address(&path.key("address"), text),
            None => self.missing(
                &path.key("address"),
                "an address of this node's own that the others send to, not a VIP",
            ),
        };
        let peers = self.sync_peers(&path.key("peers"), file, address);
        let key_file = match &file.key_file {
            Some(text) => self.absolute(&path.key("key_file"), text, "/etc/lbctl/sync.key"),
            None => self.missing(
                &path.key("key_file"),
                "the path of a file with a secret that all nodes share, such as `openssl rand -hex 32` makes",
            ),
        };
        let limits = Duration::ZERO..=GRACE_MAX;
        let grace = self.duration(&path.key("grace"), file.grace.as_ref(), GRACE, limits);
        let limits = Duration::ZERO..=JOIN_TIMEOUT_MAX;
        let join_timeout =
            self.duration(&path.key("join_timeout"), file.join_timeout.as_ref(), JOIN_TIMEOUT, limits);
        Some(FlowSync {
            address: address?,
            peers: peers?,
            key_file: key_file?,
            grace: grace?,
            join_timeout: join_timeout?,
        })
    }

    fn sync_peers(
        &mut self,
        path: &Path,
        file: &FileSync,
        own: Option<SocketAddr>,
    ) -> Option<Vec<SocketAddr>> {
        let expected = "at least one address of another node";
        let Some(texts) = &file.peers else { return self.missing(path, expected) };
        let mut peers = Vec::new();
        let mut all_right = true;
        for (path, text) in texts.entries(path) {
            let Some(peer) = self.sync_address(&path, text) else {
                all_right = false;
                continue;
            };
            let wrong = match own {
                Some(own) if own == peer => Some("is this node's own address"),
                Some(own) if own.is_ipv4() != peer.is_ipv4() => {
                    Some("is of another family than sync.address")
                }
                _ if peers.contains(&peer) => Some("is there twice"),
                _ => None,
            };
            match wrong {
                Some(wrong) => {
                    all_right = false;
                    let complaint = Complaint::new(format!("{text:?} {wrong}")).expected(expected);
                    self.complain::<()>(&path, complaint);
                }
                None => peers.push(peer),
            }
        }
        if all_right && peers.is_empty() {
            return self.complain(path, Complaint::new("nobody is named").expected(expected));
        }
        all_right.then_some(peers)
    }

    /// An address, with or without a port.
    fn sync_address(&mut self, path: &Path, text: &str) -> Option<SocketAddr> {
        match text.parse::<IpAddr>() {
            Ok(_) => Some(SocketAddr::new(self.address(path, text)?, DEFAULT_SYNC_PORT)),
            Err(_) => self.endpoint(path, text),
        }
    }
}
