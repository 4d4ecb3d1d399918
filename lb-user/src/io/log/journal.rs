//! Entries of systemd's journal: what is written here are lines of JSON, one for each event, and what is sent are their fields, in the journal's
//! own form (systemd's "Native Journal Protocol").
//!
//! It is a writer like others, so that the thread that writes the log waits for the journal, and no other does: the layers there are for the
//! journal write where the event happens.

use serde_json::{Map, Value};
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

const SOCKET: &str = "/run/systemd/journal/socket";
/// Of one field: more would not go into one datagram, and is no log line.
const FIELD_BYTES_MAX: usize = 48 * 1024;
/// And where all of them together do not.
const FIELD_BYTES_LEAST: usize = 1024;

/// Sends each line that is written to it at once.
pub(super) struct JournalWriter {
    socket: UnixDatagram,
    journal: PathBuf,
}

impl JournalWriter {
    /// # Errors
    /// Nobody takes entries here.
    pub(super) fn open() -> io::Result<Self> {
        Self::to(Path::new(SOCKET))
    }

    fn to(journal: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(journal)?;
        Ok(Self { socket, journal: journal.to_owned() })
    }

    fn send(&mut self, entry: &[u8]) -> io::Result<()> {
        match self.socket.send(entry) {
            // The journal's socket may be another one by now.
            Err(error) if is_gone(&error) => {
                self.socket.connect(&self.journal)?;
                self.socket.send(entry).map(drop)
            }
            sent => sent.map(drop),
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotConnected)
}

impl Write for JournalWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Ok(Value::Object(event)) = serde_json::from_slice(line) {
            match self.send(&entry(&event, FIELD_BYTES_MAX)) {
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                    self.send(&entry(&event, FIELD_BYTES_LEAST))?;
                }
                sent => sent?,
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The fields of an event, each of so many bytes at most: its own have an `F_` before their names, as those that the journal knows have other meanings.
fn entry(event: &Map<String, Value>, bytes_max: usize) -> Vec<u8> {
    let mut entry = Vec::new();
    let mut put = |name: &str, value: &str| put(&mut entry, name, cut(value, bytes_max));
    put("SYSLOG_IDENTIFIER", "lbctl");
    for (name, value) in event {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match name.as_str() {
            // The journal has its own.
            "timestamp" => {}
            "level" => put("PRIORITY", priority(&text)),
            "message" => put("MESSAGE", &text),
            "target" => put("TARGET", &text),
            _ => put(&format!("F_{}", plain(name)), &text),
        }
    }
    entry
}

/// syslog's levels.
fn priority(level: &str) -> &'static str {
    match level {
        "ERROR" => "3",
        "WARN" => "4",
        "INFO" => "6",
        _ => "7",
    }
}

/// Names are of capital letters, digits and underscores.
fn plain(name: &str) -> String {
    let letter =
        |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' };
    name.chars().take(60).map(letter).collect()
}

/// As much of it as that, between letters.
fn cut(value: &str, bytes_max: usize) -> &str {
    value.get(..value.floor_char_boundary(bytes_max)).unwrap_or_default()
}

/// A value of several lines says how long it is.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend((value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(journal: &UnixDatagram) -> Vec<u8> {
        let mut received = vec![0; 1 << 18];
        let bytes = journal.recv(&mut received).expect("received");
        received.truncate(bytes);
        received
    }

    fn sent(line: &str) -> Vec<u8> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let journal = UnixDatagram::bind(&path).expect("a socket");
        JournalWriter::to(&path).expect("it is there").write_all(line.as_bytes()).expect("sent");
        received(&journal)
    }

    #[test]
    fn a_journal_that_is_started_anew_gets_what_comes_then() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let first = UnixDatagram::bind(&path).expect("a socket");
        let mut writer = JournalWriter::to(&path).expect("it is there");
        drop(first);
        std::fs::remove_file(&path).expect("removed");
        writer.write_all(br#"{"message":"lost"}"#).expect_err("nobody is there");
        let second = UnixDatagram::bind(&path).expect("a socket");
        writer.write_all(br#"{"message":"again"}"#).expect("sent");
        assert_eq!(received(&second), b"SYSLOG_IDENTIFIER=lbctl\nMESSAGE=again\n");
    }

    #[test]
    fn of_an_entry_that_is_too_large_as_a_whole_the_beginning_is_sent() {
        let long = "x".repeat(40_000);
        let fields: Vec<String> = (0..20).map(|number| format!(r#""f{number}":"{long}""#)).collect();
        let entry = sent(&format!(r#"{{"message":"short",{}}}"#, fields.join(",")));
        let text = String::from_utf8(entry).expect("text");
        assert!(text.contains("MESSAGE=short\n") && text.contains("F_F19=xxx"), "{text}");
    }

    #[test]
    fn an_event_becomes_an_entry_with_its_fields() {
        let line = r#"{"timestamp":"2026-01-01T00:00:00Z","level":"WARN","message":"is down","target":"lb_user::agent","backend.name":"web1","bytes":12}"#;
        let entry = String::from_utf8(sent(line)).expect("text");
        let mut fields: Vec<&str> = entry.lines().collect();
        fields.sort_unstable();
        let wanted = [
            "F_BACKEND_NAME=web1",
            "F_BYTES=12",
            "MESSAGE=is down",
            "PRIORITY=4",
            "SYSLOG_IDENTIFIER=lbctl",
            "TARGET=lb_user::agent",
        ];
        assert_eq!(fields, wanted);
    }

    #[test]
    fn a_value_of_several_lines_cannot_be_taken_for_fields() {
        let entry = sent(r#"{"level":"INFO","message":"a\nPRIORITY=0\n"}"#);
        let value = b"a\nPRIORITY=0\n";
        let wanted = [&b"MESSAGE\n"[..], &(value.len() as u64).to_le_bytes(), value, b"\n"].concat();
        assert!(entry.windows(wanted.len()).any(|part| part == wanted), "{entry:?}");
    }

    #[test]
    fn what_is_too_long_is_cut_between_letters() {
        let entry = sent(&format!(r#"{{"message":"x{}"}}"#, "ä".repeat(60_000)));
        assert!(entry.len() < FIELD_BYTES_MAX + 100);
        assert!(String::from_utf8(entry).is_ok());
    }
}
