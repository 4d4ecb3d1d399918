//! Tests of responses.

mod captured;
mod packets;
mod streams;

use super::super::capabilities::Capabilities;
use super::super::command::Command;
use super::*;

/// What MariaDB 10.11 was asked for when the traffic was captured, with and without EOF packets.
const NEW: Capabilities = Capabilities(0x1d_01ff_b7d6);
const OLD: Capabilities = Capabilities(0xff_b7d7);

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// A letter for every piece but the forwarded ones.
fn letter(piece: &Piece<'_>) -> Option<char> {
    Some(match piece {
        Piece::Forward(_) => return None,
        Piece::ResultSet(..) => 'R',
        Piece::Ok(..) => 'O',
        Piece::Eof(..) => 'E',
        Piece::Err(..) => 'X',
        Piece::Prepared(..) => 'P',
        Piece::LocalInfile { .. } => 'L',
        Piece::Progress(_) => 'G',
        Piece::Login(_) => 'A',
        Piece::Text(_) => 'T',
    })
}

/// What a tracker makes of a stream in slices of the given lengths, the last one over and over.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    pieces: Vec<Piece<'static>>,
    bytes: Vec<u8>,
    left: usize,
    done: bool,
    error: Option<ResponseError>,
}

impl Outcome {
    fn letters(&self) -> String {
        self.pieces.iter().filter_map(letter).collect()
    }
}

fn follow(command: Command, capabilities: Capabilities, stream: &[u8], cuts: &[usize]) -> Outcome {
    let mut tracker = ResponseTracker::new(command, capabilities);
    let mut outcome = Outcome { pieces: Vec::new(), bytes: Vec::new(), left: 0, done: false, error: None };
    let mut rest = stream;
    let mut turn = 0;
    while !rest.is_empty() && outcome.error.is_none() {
        let length = cuts.get(turn).or(cuts.last()).copied().unwrap_or(rest.len()).clamp(1, rest.len());
        turn += 1;
        let (mut slice, after) = rest.split_at(length);
        rest = after;
        loop {
            match tracker.next_piece(&mut slice) {
                Ok(Some(piece)) => {
                    outcome.bytes.extend_from_slice(piece.bytes());
                    if letter(&piece).is_some() {
                        outcome.pieces.push(piece.into_owned());
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    outcome.error = Some(error);
                    break;
                }
            }
        }
        outcome.left += slice.len();
    }
    outcome.done = tracker.is_done();
    outcome
}

/// Follows a whole response, which must be the same however it is cut, and gives its pieces.
fn pieces(command: Command, capabilities: Capabilities, stream: &[u8]) -> Outcome {
    let whole = follow(command, capabilities, stream, &[]);
    assert_eq!(whole.error, None);
    assert!(whole.done, "not done: {:?}", whole.pieces);
    assert_eq!(whole.bytes, stream);
    assert_eq!(whole.left, 0);
    for cut in 1..stream.len() {
        assert_eq!(follow(command, capabilities, stream, &[cut, stream.len()]), whole, "cut at {cut}");
    }
    for size in 1..9 {
        assert_eq!(follow(command, capabilities, stream, &[size]), whole, "slices of {size}");
    }
    whole
}
