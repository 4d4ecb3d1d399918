//! The client of the control API.

use super::{ApiError, ErrorKind};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;

/// The socket of an agent that was not told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/lbctl/lbctl.sock";
const SOCKET_DIR: &str = "/run/lbctl";

/// Why a request did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No socket anywhere.
    #[error(
        "no agent is running: there is no socket in {SOCKET_DIR}; start one with `lbctl agent --config FILE`, or name its socket with --socket"
    )]
    NoSocket,
    /// Nobody listens.
    #[error("no agent answers at {socket}: {reason}")]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// What to make of it.
        reason: String,
    },
    /// The agent refused. As the agent's own words, with the lines of the file where they are asked for.
    #[error(transparent)]
    Refused(ApiError),
    /// The answer made no sense.
    #[error("the agent at {socket} answered something that is not of this API: {reason}")]
    Protocol {
        /// The socket.
        socket: PathBuf,
        /// What was wrong.
        reason: String,
    },
}

/// A client of one agent. Each request is a connection of its own: they are cheap, and an agent that
/// restarts in between does no harm.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client of the agent at this socket, or else of the one that is found: the default socket, or the
    /// first of the others by name.
    pub fn find(socket: Option<PathBuf>) -> Result<Self, ClientError> {
        if let Some(socket) = socket {
            return Ok(Self { socket });
        }
        Self::find_all()?.into_iter().next().ok_or(ClientError::NoSocket)
    }

    /// Clients of all agents whose sockets are found: the default one first, then by name.
    pub fn find_all() -> Result<Vec<Self>, ClientError> {
        // Who may not list the folder may still open the default socket in it.
        let entries = std::fs::read_dir(SOCKET_DIR).into_iter().flatten();
        let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        let is_other = |path: &PathBuf| path != Path::new(DEFAULT_SOCKET);
        let mut sockets: Vec<PathBuf> = paths
            .filter(|path| path.extension().is_some_and(|end| end == "sock") && is_other(path))
            .collect();
        sockets.sort();
        if Path::new(DEFAULT_SOCKET).exists() {
            sockets.insert(0, DEFAULT_SOCKET.into());
        }
        if sockets.is_empty() {
            return Err(ClientError::NoSocket);
        }
        Ok(sockets.into_iter().map(|socket| Self { socket }).collect())
    }

    /// A client of the agent whose socket has this name among those that are found, or this path.
    pub fn named(node: &str) -> Self {
        let is_path = node.contains('/');
        let socket =
            if is_path { PathBuf::from(node) } else { Path::new(SOCKET_DIR).join(format!("{node}.sock")) };
        Self { socket }
    }

    /// The socket it talks to.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks for something, below `/v1`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call::<(), T>(Method::GET, path, None).await
    }

    /// Sends something.
    pub async fn send<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        self.call(method, path, Some(body)).await
    }

    /// Removes something.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call::<(), T>(Method::DELETE, path, None).await
    }

    /// Calls `each` with every line of an answer as it comes, for as long as that says true.
    pub async fn lines<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
        mut each: impl FnMut(&str) -> bool,
    ) -> Result<(), ClientError> {
        let mut body = self.request(method, path, body).await?.into_body();
        let mut rest = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.protocol(&error))?;
            rest.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                if !each(String::from_utf8_lossy(&line).trim_end()) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn call<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<T, ClientError> {
        let answer = self.request(method, path, body).await?;
        let bytes = answer.into_body().collect().await.map_err(|error| self.protocol(&error))?.to_bytes();
        serde_json::from_slice(&bytes).map_err(|error| self.protocol(&error))
    }

    async fn request<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.protocol(&error))?;
        tokio::spawn(connection);
        let body = match body {
            Some(body) => Bytes::from(serde_json::to_vec(body).map_err(|error| self.protocol(&error))?),
            None => Bytes::new(),
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", super::V1))
            .header("host", "lbctl")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| self.protocol(&error))?;
        let answer = sender.send_request(request).await.map_err(|error| self.protocol(&error))?;
        if answer.status() == StatusCode::OK {
            return Ok(answer);
        }
        let bytes = answer.into_body().collect().await.map_err(|error| self.protocol(&error))?.to_bytes();
        let refusal = serde_json::from_slice(&bytes).unwrap_or_else(|_| {
            ApiError::new(ErrorKind::Internal, String::from_utf8_lossy(&bytes).into_owned())
        });
        Err(ClientError::Refused(refusal))
    }

    fn unreachable(&self, error: &std::io::Error) -> ClientError {
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such socket; start the agent with `lbctl agent --config FILE`, or name its socket with --socket".to_owned(),
            std::io::ErrorKind::ConnectionRefused => {
                "the socket is stale: its agent is gone; start it again with `lbctl agent --config FILE`".to_owned()
            }
            std::io::ErrorKind::PermissionDenied => {
                "you may not open it: use sudo, or join the group of [control] in the configuration"
                    .to_owned()
            }
            _ => error.to_string(),
        };
        ClientError::Unreachable { socket: self.socket.clone(), reason }
    }

    fn protocol(&self, error: &dyn std::fmt::Display) -> ClientError {
        ClientError::Protocol { socket: self.socket.clone(), reason: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_the_lines_of_the_file_for_who_may_see_them() {
        let shown = Some("line 1: wrong\n 1 | x".to_owned());
        let refused =
            ClientError::Refused(ApiError { shown, ..ApiError::new(ErrorKind::Invalid, "line 1: wrong") });
        assert_eq!(refused.to_string(), "line 1: wrong");
        assert_eq!(format!("{refused:#}"), "line 1: wrong\n 1 | x");
    }

    #[test]
    fn a_name_is_a_socket_among_the_others_and_a_path_is_itself() {
        assert_eq!(Client::named("lb1").socket(), Path::new("/run/lbctl/lb1.sock"));
        assert_eq!(Client::named("./lb2.sock").socket(), Path::new("./lb2.sock"));
    }
}
