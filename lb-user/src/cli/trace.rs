//! `lbctl trace`: packets as lines, or in a file.

use super::args::TraceArgs;
use super::output::Output;
use super::{CliError, Exit};
use crate::api::client::Client;
use crate::api::{TraceRequest, TracedPacket};
use humantime::format_rfc3339_micros;
use hyper::Method;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

pub(super) async fn run(client: &Client, output: Output, args: TraceArgs) -> Result<Exit, CliError> {
    let request =
        TraceRequest { service: args.service, from: args.from, every: Some(args.every), all: args.all };
    let mut file = args.pcap.as_deref().map(create).transpose()?;
    let mut failure = None;
    let mut left = args.count;
    let each = |line: &str| {
        let Ok(packet) = serde_json::from_str::<TracedPacket>(line) else { return true };
        let shown = match &mut file {
            Some(file) => file.add(&packet),
            None if output.json => output.line(line),
            None => output.line(&text(&packet)),
        };
        left = left.map(|left| left.saturating_sub(1));
        failure = shown.err();
        failure.is_none() && left != Some(0)
    };
    client.lines(Method::POST, "/trace", Some(&request), each).await?;
    match failure {
        Some(error) => Err(error.into()),
        None => Ok(Exit::Success),
    }
}

fn text(packet: &TracedPacket) -> String {
    let at = UNIX_EPOCH + Duration::from_nanos(packet.at_unix_ns);
    let TracedPacket { interface, frame_bytes, verdict, outcome, .. } = packet;
    let mut line = format!(
        "{}  {interface}  {}, {frame_bytes} bytes: {verdict}",
        format_rfc3339_micros(at),
        packet.packet
    );
    line.push_str(&format!(" ({outcome})"));
    for (what, value) in [
        ("service", packet.service.as_ref().map(ToString::to_string)),
        ("rule", packet.rule.as_ref().map(ToString::to_string)),
        ("backend", packet.backend.as_ref().map(ToString::to_string)),
        ("", packet.direction.clone()),
    ] {
        if let Some(value) = value {
            line.push_str(&format!(" {what} {value}").replace("  ", " "));
        }
    }
    line
}

/// A file of packets: pcapng, as the IETF's draft (draft-ietf-opsawg-pcapng) has it, little-endian. Each packet is on disk
/// before the next one is waited for.
struct Capture {
    file: BufWriter<File>,
    /// Interfaces described so far, in their order.
    interfaces: Vec<String>,
}

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const LINK_TYPE_ETHERNET: u16 = 1;
/// Options: the end of them, a comment, an interface's name, its clock's resolution.
const END_OF_OPTIONS: u16 = 0;
const COMMENT: u16 = 1;
const INTERFACE_NAME: u16 = 2;
const TIME_RESOLUTION: u16 = 9;
/// A negative power of ten.
const NANOSECONDS: u8 = 9;

fn create(path: &Path) -> Result<Capture, CliError> {
    let failed = |cause| CliError::File { path: path.display().to_string(), cause };
    File::create(path).and_then(Capture::begin).map_err(failed)
}

impl Capture {
    fn begin(file: File) -> std::io::Result<Self> {
        let mut capture = Self { file: BufWriter::new(file), interfaces: Vec::new() };
        let mut body = BYTE_ORDER_MAGIC.to_le_bytes().to_vec();
        // Version 1.0; a section of unknown length.
        body.extend([1, 0, 0, 0]);
        body.extend(u64::MAX.to_le_bytes());
        capture.block(SECTION_HEADER, &body)?;
        Ok(capture)
    }

    fn add(&mut self, packet: &TracedPacket) -> std::io::Result<()> {
        let interface = self.interface(&packet.interface)?;
        let frame = bytes(&packet.frame);
        let mut body = interface.to_le_bytes().to_vec();
        body.extend(((packet.at_unix_ns >> 32) as u32).to_le_bytes());
        body.extend((packet.at_unix_ns as u32).to_le_bytes());
        body.extend((frame.len() as u32).to_le_bytes());
        body.extend(packet.frame_bytes.to_le_bytes());
        body.extend(&frame);
        pad(&mut body);
        let comment = text(packet);
        option(&mut body, COMMENT, comment.as_bytes());
        option(&mut body, END_OF_OPTIONS, &[]);
        self.block(ENHANCED_PACKET, &body)
    }

    /// The number of an interface, described where it is new.
    fn interface(&mut self, name: &str) -> std::io::Result<u32> {
        if let Some(known) = self.interfaces.iter().position(|known| known == name) {
            return Ok(known as u32);
        }
        let mut body = LINK_TYPE_ETHERNET.to_le_bytes().to_vec();
        // Reserved; no limit on what is captured.
        body.extend([0; 6]);
        option(&mut body, INTERFACE_NAME, name.as_bytes());
        option(&mut body, TIME_RESOLUTION, &[NANOSECONDS]);
        option(&mut body, END_OF_OPTIONS, &[]);
        self.block(INTERFACE_DESCRIPTION, &body)?;
        self.interfaces.push(name.to_owned());
        Ok(self.interfaces.len() as u32 - 1)
    }

    fn block(&mut self, kind: u32, body: &[u8]) -> std::io::Result<()> {
        // The length stands at both ends, and counts itself and the type.
        let length = (body.len() as u32 + 12).to_le_bytes();
        for part in [&kind.to_le_bytes()[..], &length, body, &length] {
            self.file.write_all(part)?;
        }
        self.file.flush()
    }
}

/// An option of a block.
fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    pad(body);
}

/// To whole words of 32 bits.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

/// Bytes of hexadecimal digits.
fn bytes(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks_exact(2);
    pairs.filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
