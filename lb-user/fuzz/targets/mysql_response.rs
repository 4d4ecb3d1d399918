//! The end of a response, and what of it is read: the same however its bytes arrive, and nothing of it is lost or added.

#![no_main]

use lbctl_fuzz::core::mysql::protocol::capabilities::Capabilities;
use lbctl_fuzz::core::mysql::protocol::command::Command;
use lbctl_fuzz::core::mysql::protocol::response::{Piece, ResponseTracker, TextReader};
use libfuzzer_sys::fuzz_target;

const COMMANDS: [Command; 8] = [
    Command::Query,
    Command::StmtPrepare,
    Command::StmtExecute,
    Command::StmtFetch,
    Command::InitDb,
    Command::FieldList,
    Command::Statistics,
    Command::ChangeUser,
];

fuzz_target!(|bytes: &[u8]| {
    let Some((&[command, flags, cut], stream)) = bytes.split_first_chunk::<3>() else { return };
    let command = COMMANDS[usize::from(command) % COMMANDS.len()];
    let flag = |bit: u8, capability: Capabilities| match flags & bit {
        0 => Capabilities::default(),
        _ => capability,
    };
    let capabilities = Capabilities::PROTOCOL_41
        | flag(1, Capabilities::DEPRECATE_EOF)
        | flag(2, Capabilities::SESSION_TRACK)
        | flag(4, Capabilities::OPTIONAL_RESULTSET_METADATA)
        | flag(8, Capabilities::MYSQL);
    let whole = follow(command, capabilities, [stream].into_iter());
    let slices = follow(command, capabilities, stream.chunks(usize::from(cut).max(1)));
    assert!(stream.starts_with(&whole.0), "what is passed on is not what came");
    assert_eq!(whole, slices, "in one slice, and in slices of {cut}");

    let mut reader = TextReader::new(capabilities);
    for packet in stream.chunks(usize::from(cut).max(1)) {
        if !matches!(reader.packet(packet), Ok(None)) {
            break;
        }
    }
});

/// The bytes that are passed on, how the response ended, and its status.
fn follow<'a>(
    command: Command,
    capabilities: Capabilities,
    slices: impl Iterator<Item = &'a [u8]>,
) -> (Vec<u8>, bool, Option<u16>, usize, bool) {
    let mut tracker = ResponseTracker::new(command, capabilities);
    let (mut passed, mut read, mut is_broken) = (Vec::new(), 0, false);
    'all: for slice in slices {
        let mut rest = slice;
        loop {
            match tracker.next_piece(&mut rest) {
                Ok(Some(piece)) => {
                    passed.extend_from_slice(piece.bytes());
                    read += usize::from(!matches!(piece, Piece::Forward(_)));
                }
                Ok(None) => break,
                Err(_) => {
                    is_broken = true;
                    break 'all;
                }
            }
        }
        if tracker.is_done() {
            break;
        }
    }
    let status = tracker.status().map(|status| status.0);
    // Of a broken response the last pieces depend on where it was cut.
    if is_broken {
        return (Vec::new(), false, None, 0, true);
    }
    (passed, tracker.is_done(), status, read, false)
}
